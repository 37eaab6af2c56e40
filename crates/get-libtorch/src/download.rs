//! A file of an index on this disk: continued where it broke off, and held against its sha256.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::http::header;

use crate::error::GetError;
use crate::http::{Answer, Client};
use crate::index::Listed;
use crate::report::Report;
use crate::url::Url;

/// Attempts that bring nothing, one after another, before it is given up.
const ATTEMPTS: u32 = 5;
/// An attempt that brought as many bytes did bring something.
const PROGRESS: u64 = 1 << 20;
/// The longest file where the index says no length.
const MAX_LEN: u64 = 16 << 30;
const BUFFER_LEN: usize = 1 << 17;

/// Fetches a file into `dir`, or finds it there; returns its path. A file of this machine stays where it is. `pause` is the wait
/// before the second attempt.
///
/// # Errors
/// When it cannot be fetched, or is not the file that the index promises.
pub(crate) fn fetch(
    client: &Client,
    listed: &Listed,
    dir: &Path,
    pause: Duration,
    report: &mut dyn Report,
) -> Result<PathBuf, GetError> {
    if listed.url.scheme == "file" {
        let path = listed.url.to_file().ok_or_else(|| GetError::Setting {
            name: "a file's address".to_owned(),
            value: listed.url.shown(),
            expected: "a path of this machine",
        })?;
        let mut part = Part::open(&path, false)?;
        part.check(listed, &path, false)?;
        return Ok(path);
    }
    let whole = dir.join(file_name(listed)?);
    if whole.exists() {
        Part::open(&whole, false)?.check(listed, &whole, true)?;
        return Ok(whole);
    }
    let part_path = dir.join(format!("{}.part", file_name(listed)?));
    let mut part = Part::open(&part_path, true)?;
    let mut fruitless = 0;
    while listed.size.is_none_or(|size| part.len != size) {
        let before = part.len;
        let error: Box<dyn std::error::Error + Send + Sync> =
            match part.extend(client, listed, &part_path, report) {
                Ok(()) => break,
                Err(Interrupted::For(error)) => error,
                Err(Interrupted::Forever(error)) => return Err(error),
            };
        fruitless = if part.len.saturating_sub(before) >= PROGRESS { 1 } else { fruitless + 1 };
        if fruitless >= ATTEMPTS {
            let total =
                listed.size.map_or_else(|| "an unknown number of".to_owned(), |size| size.to_string());
            return Err(GetError::Broken { name: listed.name.clone(), got: part.len, total, source: error });
        }
        report.note(&format!(
            "{} broke off after {} bytes ({error}): going on from there",
            listed.name, part.len
        ));
        std::thread::sleep(pause * 2_u32.pow(fruitless - 1));
    }
    part.check(listed, &part_path, true)?;
    fs::rename(&part_path, &whole).map_err(GetError::file("rename", &part_path))?;
    Ok(whole)
}

/// Returns the length of what is there of a file.
pub(crate) fn present(listed: &Listed, dir: &Path) -> u64 {
    let Ok(name) = file_name(listed) else { return 0 };
    let len = |path: PathBuf| fs::metadata(path).map(|metadata| metadata.len()).ok();
    len(dir.join(name)).or_else(|| len(dir.join(format!("{name}.part")))).unwrap_or(0)
}

/// Returns the file's name, where it is one: an index must not choose a directory.
fn file_name(listed: &Listed) -> Result<&str, GetError> {
    let is_name =
        !listed.name.is_empty() && !listed.name.starts_with('.') && !listed.name.contains(['/', '\\', '\0']);
    if is_name {
        return Ok(&listed.name);
    }
    Err(GetError::Page {
        url: listed.url.shown(),
        what: format!("names the file `{}`", listed.name.escape_debug()),
    })
}

/// The reason why an attempt ended early.
enum Interrupted {
    /// Another attempt may go on.
    For(Box<dyn std::error::Error + Send + Sync>),
    Forever(GetError),
}

impl Interrupted {
    fn of(error: GetError) -> Self {
        match error {
            GetError::Status { status: 408 | 425 | 429 | 500.., .. } => Self::For(Box::new(error)),
            GetError::Request { source, .. } => Self::For(source),
            other => Self::Forever(other),
        }
    }
}

/// The beginning of a file, with its digest so far.
struct Part {
    file: File,
    len: u64,
    digest: Sha256,
}

impl Part {
    fn open(path: &Path, writable: bool) -> Result<Self, GetError> {
        let mut file = OpenOptions::new()
            .read(true)
            .append(writable)
            .create(writable)
            .open(path)
            .map_err(GetError::file("open", path))?;
        let (mut digest, mut len) = (Sha256::new(), 0);
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let n = file.read(&mut buffer).map_err(GetError::file("read", path))?;
            if n == 0 {
                return Ok(Self { file, len, digest });
            }
            digest.update(&buffer[..n]);
            len += n as u64;
        }
    }

    /// Asks for what is missing and adds it. Done when the body ends where it said it would.
    fn extend(
        &mut self,
        client: &Client,
        listed: &Listed,
        path: &Path,
        report: &mut dyn Report,
    ) -> Result<(), Interrupted> {
        let mut answer = client.get(&listed.url, "*/*", self.len).map_err(Interrupted::of)?;
        let continues = answer.status == 206 && range_start(&answer) == Some(self.len);
        if answer.status == 416 && listed.size.is_none() && range_total(&answer) == Some(self.len) {
            return Ok(());
        }
        if !continues && self.len > 0 {
            // The server sends the whole file, or another part than was asked for.
            self.restart().map_err(|source| forever(path, source))?;
            if answer.status != 200 {
                return Err(Interrupted::For("the server cannot go on from there".into()));
            }
        }
        let rest: Option<u64> = answer.header(header::CONTENT_LENGTH).and_then(|length| length.parse().ok());
        let total = listed.size.or(rest.map(|rest| self.len + rest));
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            report.progress(&listed.name, self.len, total);
            let n = answer.body.read(&mut buffer).map_err(|error| Interrupted::For(Box::new(error)))?;
            if n == 0 {
                break;
            }
            self.file.write_all(&buffer[..n]).map_err(|source| forever(path, source))?;
            self.digest.update(&buffer[..n]);
            self.len += n as u64;
            if self.len > total.unwrap_or(MAX_LEN) {
                let _ = fs::remove_file(path);
                let what = format!("has another length than the index says for {}", listed.name);
                return Err(Interrupted::Forever(GetError::Page { url: listed.url.shown(), what }));
            }
        }
        if total.is_some_and(|total| self.len < total) {
            return Err(Interrupted::For("the connection was closed".into()));
        }
        Ok(())
    }

    fn restart(&mut self) -> std::io::Result<()> {
        self.file.set_len(0)?;
        (self.len, self.digest) = (0, Sha256::new());
        Ok(())
    }

    /// Holds the whole file against the index; a wrong one is removed where it is ours.
    fn check(&mut self, listed: &Listed, path: &Path, ours: bool) -> Result<(), GetError> {
        let actual = hex(&std::mem::take(&mut self.digest).finalize());
        match &listed.sha256 {
            Some(expected) if *expected != actual => {
                if ours {
                    fs::remove_file(path).map_err(GetError::file("remove", path))?;
                }
                let (name, url) = (listed.name.clone(), listed.url.shown());
                Err(GetError::Hash { name, url, actual, expected: expected.clone() })
            }
            _ => Ok(()),
        }
    }
}

fn forever(path: &Path, source: std::io::Error) -> Interrupted {
    Interrupted::Forever(GetError::file("write", path)(source))
}

/// Reads the first byte of `bytes 100-199/200`.
fn range_start(answer: &Answer) -> Option<u64> {
    let range = answer.header(header::CONTENT_RANGE)?.strip_prefix("bytes ")?;
    range.split_once('-')?.0.trim().parse().ok()
}

/// Reads the length of the whole file in `bytes */200`.
fn range_total(answer: &Answer) -> Option<u64> {
    answer.header(header::CONTENT_RANGE)?.rsplit_once('/')?.1.trim().parse().ok()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Asks a server for the length of a file, without taking it.
pub(crate) fn length(client: &Client, url: &Url) -> Option<u64> {
    let answer = client.get(url, "*/*", 0).ok()?;
    answer.header(header::CONTENT_LENGTH)?.parse().ok()
}
