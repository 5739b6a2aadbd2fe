//! Recordings as bytes: plain, or compressed with zstd.

use std::io::Read;

use super::RecordingError;

/// What compressed bytes begin with.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The text of a recording of at most `limit` bytes. What is compressed is recognised by how it begins;
/// no more than the limit is ever unpacked.
///
/// # Errors
/// [`RecordingError::TooLarge`], and [`RecordingError::NoRecording`] if it is no text.
pub fn unpack_recording(bytes: Vec<u8>, limit: u64) -> Result<String, RecordingError> {
    let bytes = if bytes.starts_with(&ZSTD) { unzipped(&bytes, limit)? } else { bytes };
    if bytes.len() as u64 > limit {
        return Err(RecordingError::TooLarge(limit));
    }
    String::from_utf8(bytes).map_err(|_| RecordingError::NoRecording)
}

fn unzipped(bytes: &[u8], limit: u64) -> Result<Vec<u8>, RecordingError> {
    let mut text = Vec::new();
    let decoder = zstd::Decoder::new(bytes).map_err(|_| RecordingError::NoRecording)?;
    match decoder.take(limit.saturating_add(1)).read_to_end(&mut text) {
        Ok(_) => Ok(text),
        Err(_) => Err(RecordingError::Altered("it cannot be unpacked".to_owned())),
    }
}
