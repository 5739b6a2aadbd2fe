//! Files that go with a message, or with the goal of a task: what is in text files is told to the model, within
//! bounds, and it is shown pictures. Of all others, and of those that are only linked to, it is told the names.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use data_url::DataUrl;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::models::Picture;
use crate::orchestrator::{Files, cut};

/// Kinds of files beside `text/…` that are text.
const TEXTS: [&str; 8] = [
    "application/json",
    "application/xml",
    "application/yaml",
    "application/x-yaml",
    "application/toml",
    "application/javascript",
    "application/sql",
    "application/x-sh",
];

/// The kinds of pictures that all providers take.
const PICTURES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];

/// A file that goes with the message.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::server) struct Attachment {
    /// A `data:` address; of a file that is only linked to, models are told the address.
    url: Option<String>,
    /// `text/…` and its like are told, `image/png`, `image/jpeg`, `image/gif` and `image/webp` are shown.
    media_type: Option<String>,
    /// Its name.
    filename: Option<String>,
}

impl Attachment {
    /// The file as the part of a message that it is in a chat.
    pub(super) fn into_part(self) -> Value {
        json!({
            "type": "file", "url": self.url, "mediaType": self.media_type, "filename": self.filename,
        })
    }
}

/// What a task is told and shown of files: the same as of those of a chat message.
pub(in crate::server) fn of_task(attachments: Vec<Attachment>) -> Files {
    let (mut files, mut named) = (Files::default(), Vec::new());
    for part in attachments.into_iter().map(Attachment::into_part) {
        let alone = std::slice::from_ref(&part);
        if let Some((name, text)) = texts(alone).next() {
            files.tell(name, &text);
        } else if let Some(picture) = pictures(alone).next() {
            files.shown.push(picture);
        } else {
            named.push(line(&part));
        }
    }
    files.told.extend((!named.is_empty()).then(|| named.join("\n").replace('\0', "\u{fffd}")));
    files
}

/// What a model is told of a file that is neither told nor shown.
pub(super) fn line(part: &Value) -> String {
    let field = |name: &str| part[name].as_str().filter(|text| !text.is_empty());
    let mut line = format!("[file {}", field("filename").unwrap_or("without a name"));
    for more in [field("mediaType"), field("url").filter(|url| url.starts_with("http"))].into_iter().flatten()
    {
        line = format!("{line}, {more}");
    }
    line + "]"
}

/// What is in the text files among the parts of a message, in about `most` bytes.
pub(super) fn contents(parts: &[Value], most: usize) -> String {
    let mut contents = String::new();
    for (name, text) in texts(parts) {
        let text = cut(&text, most.saturating_sub(contents.len()));
        let _ = write!(contents, "\n\nThe file {name}:\n{text}");
    }
    contents
}

/// The same in full, as a task is told of them: what of it is too long for a prompt can be read from there.
pub(super) fn told(parts: &[Value]) -> Vec<String> {
    let mut files = Files::default();
    texts(parts).for_each(|(name, text)| files.tell(name, &text));
    files.told
}

/// The text files among the parts of a message, with their names.
fn texts(parts: &[Value]) -> impl Iterator<Item = (&str, String)> {
    parts.iter().filter(|part| part["type"] == "file").filter_map(|part| {
        let field = |name: &str| part[name].as_str().unwrap_or_default();
        let bytes = is_text(field("mediaType")).then(|| bytes_of(field("url")))??;
        Some((field("filename"), String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}")))
    })
}

/// A picture that goes with a message, as the message holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Attached<'a> {
    name: &'a str,
    media_type: &'static str,
    url: &'a str,
}

impl Attached<'_> {
    /// The picture as a model is shown it; none if there is nothing in it.
    pub(super) fn picture(self) -> Option<Picture> {
        let bytes = bytes_of(self.url).filter(|bytes| !bytes.is_empty())?;
        let data = BASE64_STANDARD.encode(bytes);
        Some(Picture { name: self.name.to_owned(), media_type: self.media_type.to_owned(), data })
    }
}

/// What is attached of pictures to the parts of a message. They may have megabytes, so each is decoded only where it
/// is shown.
pub(super) fn attached(parts: &[Value]) -> impl Iterator<Item = Attached<'_>> {
    parts.iter().filter(|part| part["type"] == "file").filter_map(|part| {
        let field = |name: &str| part[name].as_str().unwrap_or_default();
        let media_type = PICTURES.into_iter().find(|kind| field("mediaType").eq_ignore_ascii_case(kind))?;
        let url = Some(field("url")).filter(|url| DataUrl::process(url).is_ok())?;
        Some(Attached { name: field("filename"), media_type, url })
    })
}

/// The pictures among the parts of a message.
pub(super) fn pictures(parts: &[Value]) -> impl Iterator<Item = Picture> {
    attached(parts).filter_map(Attached::picture)
}

fn is_text(media_type: &str) -> bool {
    let kind = media_type.split(';').next().unwrap_or_default().trim();
    kind.starts_with("text/") || TEXTS.contains(&kind)
}

/// What is in a `data:` address.
fn bytes_of(url: &str) -> Option<Vec<u8>> {
    Some(DataUrl::process(url).ok()?.decode_to_vec().ok()?.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn file(media_type: &str, url: &str) -> Value {
        json!({"type": "file", "filename": "a", "mediaType": media_type, "url": url})
    }

    #[test]
    fn text_files_are_shown_and_no_others() {
        let parts = [
            json!({"type": "text", "text": "see"}),
            file("text/plain; charset=utf-8", "data:text/plain;base64,SGVsbG8sIHfDtnJsZCE="),
            file("application/json", "data:application/json,%7B%22a%22%3A1%7D"),
            file("image/png", "data:image/png;base64,AAAA"),
            file("text/plain", "https://example.org/a.txt"),
            file("text/plain", "data:text/plain;base64,?"),
        ];
        assert_eq!(contents(&parts, 1000), "\n\nThe file a:\nHello, wörld!\n\nThe file a:\n{\"a\":1}");
    }

    #[test]
    fn pictures_are_shown_as_they_are() {
        let parts = [
            file("image/PNG", "data:image/png;base64,aGVsbG8="),
            file("image/svg+xml", "data:image/svg+xml,%3Csvg%3E"),
            file("image/png", "https://example.org/a.png"),
            file("image/jpeg", "data:image/jpeg;base64,"),
        ];
        assert_eq!(attached(&parts).count(), 2, "what is in them is not looked at before they are shown");
        let shown: Vec<Picture> = pictures(&parts).collect();
        assert_eq!(shown.len(), 1, "{shown:?}");
        assert_eq!((shown[0].media_type.as_str(), shown[0].data.as_str()), ("image/png", "aGVsbG8="));
    }

    #[test]
    fn a_task_is_told_all_of_each() {
        let long = "x".repeat(200_000);
        let mut parts =
            vec![file("text/plain", &format!("data:text/plain,{long}")), file("image/png", "data:,x")];
        assert_eq!(told(&parts), [format!("The file a:\n{long}")]);
        parts.extend((0..30).map(|_| file("text/plain", "data:text/plain,y")));
        let told = told(&parts);
        assert_eq!((told.len(), told.concat().matches("The file a:").count()), (20, 31));
    }

    #[test]
    fn a_task_is_told_the_names_of_files_of_which_it_knows_no_more() {
        let attachment = |value: Value| serde_json::from_value::<Attachment>(value).unwrap();
        let files = of_task(vec![
            attachment(json!({"filename": "a.pdf", "mediaType": "application/pdf", "url": "data:,x"})),
            attachment(json!({"filename": "a.md", "mediaType": "text/markdown", "url": "data:,Hello"})),
            attachment(
                json!({"filename": "b.png", "mediaType": "image/png", "url": "data:image/png;base64,aGk="}),
            ),
            attachment(
                json!({"filename": "c.png", "mediaType": "image/png", "url": "https://example.org/c.png"}),
            ),
            attachment(json!({})),
        ]);
        let named = "[file a.pdf, application/pdf]\n[file c.png, image/png, https://example.org/c.png]\n\
                     [file without a name]";
        assert_eq!(files.told, ["The file a.md:\nHello", named]);
        assert_eq!(files.shown.len(), 1);
        assert_eq!(of_task(Vec::new()), Files::default());
    }

    #[test]
    fn long_files_are_cut() {
        let parts = [file("text/plain", &format!("data:text/plain,{}", "x".repeat(500)))];
        let shown = contents(&parts, 100);
        assert!(shown.contains("400 more bytes"), "{shown}");
    }
}
