//! Reads messages line by line without ever holding more than the limit.
//!
//! The SDK's own transport drops a line that is too long and says nothing to whoever waits for
//! it. Here its beginning and end are kept, because one of them names the request it answers.

use std::io;

use regex::bytes::Regex;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// How much of both ends of a line that is too long is kept, in bytes.
const EDGE_BYTES: usize = 512;

/// One message, as far as it could be held.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Line(Vec<u8>),
    /// A line over the limit, and the request it answers if that can be seen.
    Overlong(Option<u32>),
    /// The other side closed its output.
    End,
}

/// Reads lines of bounded length.
pub(super) struct LineReader<R> {
    reader: BufReader<R>,
    limit: usize,
    line: Vec<u8>,
    overlong: Option<Edges>,
}

struct Edges {
    head: Vec<u8>,
    tail: Vec<u8>,
}

impl<R: AsyncRead + Unpin> LineReader<R> {
    pub(super) fn new(reader: R, limit: usize) -> Self {
        Self { reader: BufReader::with_capacity(64 * 1024, reader), limit, line: Vec::new(), overlong: None }
    }

    /// The next message. May be dropped and called again at any time: what was read is kept.
    pub(super) async fn next(&mut self) -> io::Result<Incoming> {
        loop {
            let available = self.reader.fill_buf().await?;
            if available.is_empty() {
                return Ok(Incoming::End);
            }
            let newline = available.iter().position(|byte| *byte == b'\n');
            let taken = newline.map_or(available.len(), |at| at + 1);
            keep(&mut self.line, &mut self.overlong, self.limit, &available[..newline.unwrap_or(taken)]);
            self.reader.consume(taken);
            if newline.is_some() {
                return Ok(self.finish());
            }
        }
    }

    fn finish(&mut self) -> Incoming {
        match self.overlong.take() {
            Some(edges) => Incoming::Overlong(edges.request()),
            None => Incoming::Line(std::mem::take(&mut self.line)),
        }
    }
}

fn keep(line: &mut Vec<u8>, overlong: &mut Option<Edges>, limit: usize, piece: &[u8]) {
    if let Some(edges) = overlong {
        edges.push(piece);
    } else if line.len() + piece.len() > limit {
        let whole = std::mem::take(line);
        let mut edges =
            Edges { head: whole.iter().chain(piece).take(EDGE_BYTES).copied().collect(), tail: Vec::new() };
        edges.push(&whole[whole.len().saturating_sub(EDGE_BYTES)..]);
        edges.push(piece);
        *overlong = Some(edges);
    } else {
        line.extend_from_slice(piece);
    }
}

impl Edges {
    fn push(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(EDGE_BYTES)..]);
        let surplus = self.tail.len().saturating_sub(EDGE_BYTES);
        self.tail.drain(..surplus);
    }

    /// The number of the request that this line answers. Servers write it first (Rust, Python)
    /// or last (Node).
    fn request(&self) -> Option<u32> {
        const FIRST: &str = r#"^\s*\{\s*(?:"jsonrpc"\s*:\s*"2\.0"\s*,\s*)?"id"\s*:\s*([0-9]+)\s*,"#;
        const LAST: &str = r#",\s*"id"\s*:\s*([0-9]+)\s*(?:,\s*"jsonrpc"\s*:\s*"2\.0"\s*)?\}\s*$"#;
        let find = |pattern, text| -> Option<u32> {
            let digits = Regex::new(pattern).ok()?.captures(text)?.get(1)?.as_bytes();
            std::str::from_utf8(digits).ok()?.parse().ok()
        };
        find(FIRST, &self.head).or_else(|| find(LAST, &self.tail))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn all(text: &str, limit: usize) -> Vec<Incoming> {
        let mut reader = LineReader::new(text.as_bytes(), limit);
        let mut found = Vec::new();
        loop {
            match reader.next().await.unwrap() {
                Incoming::End => return found,
                other => found.push(other),
            }
        }
    }

    #[tokio::test]
    async fn lines_up_to_the_limit_are_whole() {
        assert_eq!(
            all("one\n\ntwo!\nrest", 4).await,
            [Incoming::Line(b"one".to_vec()), Incoming::Line(Vec::new()), Incoming::Line(b"two!".to_vec())]
        );
    }

    #[tokio::test]
    async fn a_line_over_the_limit_still_tells_whom_it_answers() {
        let long = "x".repeat(200_000);
        let first = format!(r#"{{"jsonrpc":"2.0","id":17,"result":{{"t":"{long}"}}}}"#);
        let last = format!(r#"{{"result":{{"t":"{long}"}},"jsonrpc":"2.0","id":18}}"#);
        let nested = format!(r#"{{"result":{{"t":"{long}","id":19}}}}"#);
        let text = format!("{first}\n{last}\n{nested}\nnext\n");
        assert_eq!(
            all(&text, 1000).await,
            [
                Incoming::Overlong(Some(17)),
                Incoming::Overlong(Some(18)),
                Incoming::Overlong(None),
                Incoming::Line(b"next".to_vec())
            ]
        );
    }

    proptest! {
        #[test]
        fn no_line_is_lost_split_or_longer_than_the_limit(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..3000),
            limit in 0..1200_usize,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut reader = LineReader::new(bytes.as_slice(), limit);
            let mut lines: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
            // What is behind the last end of a line is not a line.
            lines.pop();
            for line in lines {
                match runtime.block_on(reader.next()).unwrap() {
                    Incoming::Line(read) => prop_assert_eq!(read, line.to_vec()),
                    Incoming::Overlong(_) => prop_assert!(line.len() > limit),
                    Incoming::End => prop_assert!(false, "a line is missing"),
                }
                prop_assert!(reader.line.is_empty() && reader.overlong.is_none());
            }
            prop_assert_eq!(runtime.block_on(reader.next()).unwrap(), Incoming::End);
            prop_assert!(reader.line.len() <= limit);
        }
    }
}
