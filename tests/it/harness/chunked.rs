//! Bodies as HTTP/1.1 sends them when their length is not known.

/// What came of a chunked body so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Chunked {
    pub chunks: Vec<Vec<u8>>,
    /// What came of a chunk that is not complete.
    pub begun: Vec<u8>,
    /// Whether the last chunk came.
    pub ended: bool,
    /// What came after the last chunk.
    pub rest: Vec<u8>,
}

impl Chunked {
    pub fn of(mut body: &[u8]) -> Self {
        let mut chunked = Self::default();
        while let Some((len, rest)) = split(body) {
            let len = std::str::from_utf8(len).expect("a chunk's length is text");
            let len = usize::from_str_radix(len, 16).expect("a chunk's length is a number");
            let Some((chunk, rest)) = rest.split_at_checked(len) else {
                chunked.begun = rest.to_vec();
                break;
            };
            // The end of the chunk's line may still be on its way.
            body = rest.strip_prefix(b"\r\n").unwrap_or_default();
            if len == 0 {
                chunked.ended = rest.starts_with(b"\r\n");
                chunked.rest = body.to_vec();
                break;
            }
            chunked.chunks.push(chunk.to_vec());
        }
        chunked
    }

    /// The chunks that are complete.
    pub fn texts(&self) -> Vec<String> {
        let texts = self.chunks.iter().map(|chunk| String::from_utf8_lossy(chunk).into_owned());
        texts.collect()
    }

    /// All that came of the body.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.chunks.concat()[..], &self.begun].concat()
    }
}

/// A line without its end, and what follows.
fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.windows(2).position(|window| window == b"\r\n")?;
    Some((&bytes[..end], &bytes[end + 2..]))
}
