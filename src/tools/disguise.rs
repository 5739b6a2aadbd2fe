//! The forms in which a secret may come back: what is sent with it, or tells of it, writes it in its own way.

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD};
use secrecy::SecretString;
use serde_json::Value;

/// A shorter value is found in texts that have nothing to do with it.
pub(super) const SHORTEST: usize = 6;

/// What a value becomes where it is sent or said back: in a form, in the query and the path of an
/// address, within JSON, HTML and Base64; and each of its lines.
pub(super) fn disguises(value: &str) -> Vec<SecretString> {
    const ADDRESSES: [&str; 2] = ["http://host/?", "http://host/"];
    let in_form: String = url::form_urlencoded::byte_serialize(value.as_bytes()).collect();
    let in_addresses = ADDRESSES.iter().filter_map(|before| {
        let whole = url::Url::parse(&format!("{before}{value}")).ok()?;
        whole.as_str().strip_prefix(before).map(str::to_owned)
    });
    let lines = value.lines().map(str::trim).filter(|line| line.len() >= LINE).map(str::to_owned);
    let mut forms: Vec<String> = in_addresses.chain([in_form, in_html(value)]).chain(lines).collect();
    forms.extend(percent_encoded(value));
    forms.extend(in_json(value));
    forms.extend(in_base64(value));
    // The longest first: of one that is within another nothing may be left over.
    forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
    forms.dedup();
    // An address may leave out parts of what is put into it.
    forms.into_iter().filter(|form| form != value && form.len() >= SHORTEST).map(Into::into).collect()
}

/// As client libraries write a parameter or a part of a path: RFC 3986 leaves the first of these characters alone,
/// `encodeURIComponent` those behind them as well, Python's `quote` and `encodeURI` slashes or whatever has a
/// meaning in addresses. The digits may be small ones.
fn percent_encoded(value: &str) -> impl Iterator<Item = String> {
    const PLAIN: &str = "-._~";
    ["", "!*'()", "/", "!*'();/?:@&=+$,#"].into_iter().flat_map(move |others| {
        let is_left = |byte: u8| {
            byte.is_ascii_alphanumeric() || [PLAIN, others].iter().any(|left| left.as_bytes().contains(&byte))
        };
        let written = |small: bool| {
            value.bytes().fold(String::new(), |mut all, byte| {
                match (is_left(byte), small) {
                    (true, _) => all.push(char::from(byte)),
                    (false, true) => all += &format!("%{byte:02x}"),
                    (false, false) => all += &format!("%{byte:02X}"),
                }
                all
            })
        };
        [written(false), written(true)]
    })
}

/// A shorter line of a value of several lines says nothing by itself.
const LINE: usize = 16;

/// Within the texts of JSON, as the usual writers have it: letters beyond ASCII as they are or by number,
/// and with or without a mark before a slash; some do not write `<`, `>` and `&`.
fn in_json(value: &str) -> impl Iterator<Item = String> {
    let text = Value::from(value).to_string();
    let text = text[1..text.len() - 1].to_owned();
    let numbered = |text: &str, which: fn(char) -> bool, upper: bool| {
        let mut units = [0; 2];
        text.chars().fold(String::new(), |mut all, letter| {
            match which(letter) {
                true => letter.encode_utf16(&mut units).iter().for_each(|unit| {
                    all += &if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
                }),
                false => all.push(letter),
            }
            all
        })
    };
    let marks: fn(char) -> bool = |letter| matches!(letter, '<' | '>' | '&');
    let foreign: fn(char) -> bool = |letter| !letter.is_ascii();
    let unmarked = [text.clone(), numbered(&text, marks, false), numbered(&text, marks, true)];
    let written = unmarked
        .into_iter()
        .flat_map(move |text| [numbered(&text, foreign, false), numbered(&text, foreign, true), text]);
    written.flat_map(|text| [text.replace('/', "\\/"), text])
}

fn in_html(value: &str) -> String {
    let value = value.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    value.replace('"', "&quot;").replace('\'', "&#39;")
}

/// Within Base64 of either alphabet, at each of the three places where it may begin there: as much of it as
/// does not depend on what stands beside it.
fn in_base64(value: &str) -> impl Iterator<Item = String> {
    [BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD].into_iter().flat_map(move |alphabet| {
        [0, 1, 2].map(|before| {
            let text = alphabet.encode([&[0; 2][..before], value.as_bytes()].concat());
            let cut = usize::from(!(before + value.len()).is_multiple_of(3));
            text[[0, 2, 3][before]..text.len() - cut].to_owned()
        })
    })
}
