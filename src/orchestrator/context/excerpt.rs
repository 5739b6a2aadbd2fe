//! Beginnings of texts, with a word about the rest.

/// The beginning of a text, with a word about what is left out.
pub(crate) fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = boundary(text, most);
    format!("{}\n[… {} more bytes are recorded but not shown here]", &text[..end], text.len() - end)
}

/// The beginning of a recorded content, and how a model reads the rest of it.
pub(crate) fn excerpt(text: &str, most: usize, handle: &str) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = boundary(text, most);
    format!("{}\n{}", &text[..end], rest(text.len() - end, handle, end))
}

/// How a model is told that there is more.
fn rest(bytes: usize, handle: &str, offset: usize) -> String {
    format!(
        "{CUT}{bytes} more bytes: context_read {{\"handle\": \"{handle}\", \"offset\": {offset}}} shows them]"
    )
}

/// What every such word begins with.
pub(super) const CUT: &str = "[… ";

/// The last place at or before `most` where a text can be cut.
pub(crate) fn boundary(text: &str, most: usize) -> usize {
    (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_says_how_much_is_missing_and_never_splits_a_character() {
        assert_eq!(cut("short", 10), "short");
        let cut = cut("ééé", 3);
        assert!(cut.starts_with("é\n[… 4 more bytes"), "{cut}");
    }

    #[test]
    fn an_excerpt_says_where_the_rest_is() {
        let shown = excerpt("ééé", 3, "step-1/2");
        assert!(shown.contains(r#"{"handle": "step-1/2", "offset": 2}"#), "{shown}");
        assert_eq!(excerpt("ééé", 6, "step-1/2"), "ééé");
    }
}
