//! Files that are given to a task on the command line: texts are told, pictures are shown, as with a message of
//! the chat.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use clap::Args;

use super::error::CliError;
use crate::models::Picture;
use crate::orchestrator::Files;

/// Bytes of all files together: what a request over HTTP holds of them, in Base64, with the usual limit.
const MOST: u64 = 12 * 1024 * 1024;

/// Files for a task.
#[derive(Debug, Default, Args)]
pub(super) struct AttachArgs {
    /// Give it this file, a text or a picture; may be repeated
    #[arg(long, value_name = "FILE")]
    attach: Vec<PathBuf>,
}

impl AttachArgs {
    /// Reads the files.
    pub(super) fn read(&self) -> Result<Files, CliError> {
        let mut files = Files::default();
        let mut left = MOST;
        for path in &self.attach {
            let refused =
                |problem: String| CliError::usage("attach", format!("{}: {problem}", path.display()));
            let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
            left = left.checked_sub(size).ok_or_else(|| {
                let most = MOST / 1024 / 1024;
                refused(format!(
                    "all files together may have {most} MiB: put large ones into the workspace and name them"
                ))
            })?;
            let bytes = std::fs::read(path).map_err(|error| refused(error.to_string()))?;
            add(path, bytes, &mut files).map_err(refused)?;
        }
        Ok(files)
    }
}

fn add(path: &Path, bytes: Vec<u8>, files: &mut Files) -> Result<(), String> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if let Some(media_type) = kind_of(&bytes) {
        let data = BASE64_STANDARD.encode(bytes);
        files.shown.push(Picture { name, media_type: media_type.to_owned(), data });
        return Ok(());
    }
    match String::from_utf8(bytes) {
        Ok(text) if !text.contains('\0') => {
            files.tell(&name, &text);
            Ok(())
        }
        _ => Err("is neither text (UTF-8) nor a picture (PNG, JPEG, GIF, WebP)".to_owned()),
    }
}

/// What kind of picture this is, by how it begins: a name says nothing.
fn kind_of(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_shown_or_refused_by_what_is_in_it() {
        let mut files = Files::default();
        let mut attach = |name: &str, bytes: &[u8]| add(Path::new(name), bytes.to_vec(), &mut files);
        attach("in/notes.md", "Wer schreibt? Ä".as_bytes()).unwrap();
        attach("cat.txt", b"\x89PNG\r\n\x1a\n").unwrap();
        attach("cat.webp", b"RIFF0000WEBPVP8 ").unwrap();
        assert!(attach("a.pdf", b"%PDF-1.7 \xff\xfe").unwrap_err().starts_with("is neither text"));
        assert!(attach("a.bin", b"a\0b").is_err());
        assert_eq!(files.told, ["The file notes.md:\nWer schreibt? Ä"]);
        let shown: Vec<(&str, &str)> =
            files.shown.iter().map(|picture| (picture.name.as_str(), picture.media_type.as_str())).collect();
        assert_eq!(shown, [("cat.txt", "image/png"), ("cat.webp", "image/webp")]);
    }

    #[test]
    fn what_is_too_large_or_not_there_is_named() {
        let there = tempfile::tempdir().unwrap();
        let large = there.path().join("large.txt");
        std::fs::File::create(&large).unwrap().set_len(MOST + 1).unwrap();
        let refused = |path: PathBuf| AttachArgs { attach: vec![path] }.read().unwrap_err().to_string();
        assert!(refused(large).contains("large.txt: all files together may have 12 MiB"));
        assert!(refused(there.path().join("ghost.md")).contains("ghost.md: No such file"));
    }
}
