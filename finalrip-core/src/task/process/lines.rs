//! Lines of a pipe, in bounded memory.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// Reads lines of at most so many bytes.
#[derive(Debug)]
pub(super) struct Lines<R> {
    reader: BufReader<R>,
    longest: usize,
    line: Vec<u8>,
}

impl<R: AsyncRead + Unpin> Lines<R> {
    pub(super) fn new(pipe: R, longest: usize) -> Self {
        Self { reader: BufReader::with_capacity(64 << 10, pipe), longest, line: Vec::new() }
    }

    /// The next line, cut where it is too long; `None` at the end.
    pub(super) async fn next_cut(&mut self) -> io::Result<Option<&[u8]>> {
        Ok(self.next(false).await?.then_some(&*self.line))
    }

    /// The next line; `None` at the end, where half a line does not count.
    ///
    /// # Errors
    /// Also when it is too long.
    pub(super) async fn next_whole(&mut self) -> io::Result<Option<&[u8]>> {
        Ok(self.next(true).await?.then_some(&*self.line))
    }

    async fn next(&mut self, whole: bool) -> io::Result<bool> {
        // A long line's memory is not kept for the short ones that follow.
        self.line = Vec::new();
        loop {
            let read = self.reader.fill_buf().await?;
            if read.is_empty() {
                return Ok(!whole && !self.line.is_empty());
            }
            let end = read.iter().position(|&byte| byte == b'\n');
            let part = &read[..end.unwrap_or(read.len())];
            let room = self.longest.saturating_sub(self.line.len());
            if whole && part.len() > room {
                return Err(io::Error::other(format!("a line of more than {} bytes", self.longest)));
            }
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            let used = end.map_or(part.len(), |end| end + 1);
            self.reader.consume(used);
            if end.is_some() {
                return Ok(true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Lines;

    #[tokio::test]
    async fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let text = [&vec![b'x'; 200_000][..], b"\nshort\nlast"].concat();
        let mut lines = Lines::new(&*text, 10);
        assert_eq!(lines.next_cut().await.unwrap(), Some(&[b'x'; 10][..]));
        assert_eq!(lines.next_cut().await.unwrap(), Some(&b"short"[..]));
        assert_eq!(lines.next_cut().await.unwrap(), Some(&b"last"[..]));
        assert_eq!(lines.next_cut().await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_message_that_is_too_long_or_half_is_none() {
        let mut lines = Lines::new(&b"four\n12345\n"[..], 4);
        assert_eq!(lines.next_whole().await.unwrap(), Some(&b"four"[..]));
        assert!(lines.next_whole().await.is_err());
        assert_eq!(Lines::new(&b"half"[..], 10).next_whole().await.unwrap(), None);
    }
}
