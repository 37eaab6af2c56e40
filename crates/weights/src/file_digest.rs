//! Digests of files.

use std::io::Read;
use std::path::Path;

use crate::{Digest, WeightsError, open_regular};

/// Bytes read at a time: enough for every core to have its part, and no more memory than this.
const PIECE: usize = 8 << 20;

impl Digest {
    /// Computes the digest of a file on all threads of rayon. The file is read, not mapped: it may be cut meanwhile.
    ///
    /// # Errors
    /// [`WeightsError::Read`] when it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, WeightsError> {
        let read = |source| WeightsError::Read { path: path.to_owned(), source };
        let mut file = open_regular(path).map_err(read)?;
        let length = file.metadata().map_err(read)?.len();
        let mut piece = vec![0; PIECE.min(length as usize + 1)];
        let mut hasher = blake3::Hasher::new();
        loop {
            let mut filled = 0;
            while filled < piece.len() {
                match file.read(&mut piece[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(read(error)),
                }
            }
            if filled == 0 {
                return Ok(Self::of_hasher(&hasher));
            }
            hasher.update_rayon(&piece[..filled]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_the_digest_of_its_bytes_whatever_its_length() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        for length in [0, 1, 1024, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 5] {
            let bytes: Vec<u8> = (0..length).map(|at| (at * 7 % 251) as u8).collect();
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(Digest::of_file(&path).unwrap(), Digest::of_pieces(bytes.chunks(1000)), "{length}");
        }
    }
}
