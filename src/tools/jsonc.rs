//! JSON as people keep it in files: with comments and commas behind the last item.

/// The same as JSON proper. Everything stays at its line and column.
pub(super) fn as_json(text: &str) -> String {
    let mut json = String::with_capacity(text.len());
    let mut letters = text.chars().peekable();
    // Where a comma stands that may be one too many.
    let mut comma = None;
    while let Some(letter) = letters.next() {
        match (letter, letters.peek()) {
            ('"', _) => {
                comma = None;
                json.push('"');
                while let Some(letter) = letters.next() {
                    json.push(letter);
                    match letter {
                        '"' => break,
                        '\\' => json.extend(letters.next()),
                        _ => {}
                    }
                }
            }
            ('/', Some('/')) => {
                json.push(' ');
                while let Some(letter) = letters.next_if(|letter| *letter != '\n') {
                    json.push(blank(letter));
                }
            }
            ('/', Some('*')) => {
                // The star that opens it does not close it.
                letters.next();
                json.push_str("  ");
                let mut before = ' ';
                for letter in letters.by_ref() {
                    json.push(blank(letter));
                    if (before, letter) == ('*', '/') {
                        break;
                    }
                    before = letter;
                }
            }
            (',', _) => {
                comma = Some(json.len());
                json.push(',');
            }
            (']' | '}', _) => {
                if let Some(at) = comma.take() {
                    json.replace_range(at..=at, " ");
                }
                json.push(letter);
            }
            _ => {
                if !letter.is_whitespace() {
                    comma = None;
                }
                json.push(letter);
            }
        }
    }
    json
}

/// What a letter of a comment leaves.
fn blank(letter: char) -> char {
    if letter.is_whitespace() { letter } else { ' ' }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn read(text: &str) -> Value {
        serde_json::from_str(&as_json(text))
            .unwrap_or_else(|error| panic!("{text}: {error}: {}", as_json(text)))
    }

    #[test]
    fn comments_and_commas_too_many_are_passed_over() {
        let text = r#"// first
            { /* "a": 0, */ "a": [1, 2, /**/], // one
              /* * / ** */ "b": {"c": "x",
              }, // last, ]
            } // end"#;
        assert_eq!(read(text), json!({"a": [1, 2], "b": {"c": "x"}}));
        assert_eq!(read("/*/ still one */ 1"), json!(1));
    }

    #[test]
    fn what_stands_in_texts_is_theirs() {
        let text = r#"{"url": "https://x.y/*z*/", "quote": "\"//,]", "end": "\\"}"#;
        assert_eq!(read(text), json!({"url": "https://x.y/*z*/", "quote": "\"//,]", "end": "\\"}));
    }

    #[test]
    fn what_is_wrong_stays_wrong_and_where_it_was() {
        for text in ["[,]", "[1,,]", "{,}", "[1 2]", "/* open", "\"open", "{\"a\": // 1\n}"] {
            let is_wrong = serde_json::from_str::<Value>(&as_json(text)).is_err();
            assert_eq!(is_wrong, text != "[,]" && text != "{,}", "{text}: {}", as_json(text));
        }
        let error = serde_json::from_str::<Value>(&as_json("{ // ä\n  \"a\": x}")).unwrap_err();
        assert_eq!((error.line(), error.column()), (2, 8));
    }

    proptest! {
        #[test]
        fn json_proper_stays_as_it_is(text in "[\\PC\n]{0,40}", number: i32) {
            let json = json!({"text": text.clone(), "list": [number, {text: null}]}).to_string();
            prop_assert_eq!(as_json(&json), json);
        }
    }
}
