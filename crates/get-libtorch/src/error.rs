//! Failures of the set-up.

use std::io;
use std::path::{Path, PathBuf};

use crate::installed::{Unfit, VERSION};

/// The reason why libtorch cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError {
    /// The system refuses something.
    #[error("cannot {action} `{path}`")]
    File {
        /// A verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A setting of pip, or of a proxy, cannot be used.
    #[error("{name} is `{value}`; expected {expected}")]
    Setting {
        /// The setting and where it stands.
        name: String,
        /// Its value.
        value: String,
        /// The values that can be used.
        expected: &'static str,
    },
    /// An address that pip would not ask either.
    #[error(
        "`{url}` is neither https nor on this machine; to use it all the same, name its host as for pip: PIP_TRUSTED_HOST, \
         or `trusted-host` in pip.conf"
    )]
    Insecure {
        /// The address.
        url: String,
    },
    /// No answer.
    #[error("cannot get `{url}`")]
    Request {
        /// The address.
        url: String,
        /// The reason.
        source: Box<ureq::Error>,
    },
    /// An answer that is none.
    #[error("`{url}` answers with status {status}{}", remedy(*.status))]
    Status {
        /// The address.
        url: String,
        /// HTTP's number.
        status: u16,
    },
    /// One address leads to the next for ever.
    #[error("`{url}` leads from one address to another, ten times over")]
    Redirects {
        /// The first address.
        url: String,
    },
    /// A page of an index that is none.
    #[error("the index page `{url}` {what}")]
    Page {
        /// The address.
        url: String,
        /// The fault, as the end of a sentence about it.
        what: String,
    },
    /// Nothing of the kind in any index.
    #[error(
        "no wheel of {what} for {platform} in {}{}; another index: PIP_INDEX_URL, \
         another build: `cargo xtask setup --cuda BUILD`",
        .looked.join(", "), in_brackets(.notes)
    )]
    NoWheel {
        /// Package and version.
        what: String,
        /// This machine's kind.
        platform: String,
        /// The indexes and directories that were searched.
        looked: Vec<String>,
        /// Failures on the way.
        notes: Vec<String>,
    },
    /// A wheel is not what the index says.
    #[error(
        "{name} from `{url}` has sha256 {actual}; the index says {expected}. The file is removed: try again, or another mirror"
    )]
    Hash {
        /// The file.
        name: String,
        /// Its address.
        url: String,
        /// Its digest.
        actual: String,
        /// The index's digest.
        expected: String,
    },
    /// A download that ended early, over and over.
    #[error(
        "{name} broke off after {got} of {total} bytes; what is there is kept: run the set-up again, and it goes on from there"
    )]
    Broken {
        /// The file.
        name: String,
        /// Bytes that are there.
        got: u64,
        /// Bytes of the whole.
        total: String,
        /// The last reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A wheel that is no archive, or none of ours.
    #[error("the archive `{path}` {what}")]
    Archive {
        /// The file.
        path: PathBuf,
        /// The fault, as the end of a sentence about it.
        what: String,
    },
    /// Too little room.
    #[error("`{path}` has {} free; the set-up needs {} while it runs", size(*.free), size(*.need))]
    Disk {
        /// A directory on the disk.
        path: PathBuf,
        /// Bytes needed.
        need: u64,
        /// Bytes free.
        free: u64,
    },
    /// An older C library than PyTorch is made for.
    #[error(
        "glibc is {actual}; PyTorch {VERSION} needs 2.28 or newer (Ubuntu 20.04, Debian 10, RHEL 8 and later)"
    )]
    Glibc {
        /// This machine's version.
        actual: String,
    },
    /// No PyTorch for this kind of machine.
    #[error(
        "PyTorch {VERSION} has no package for {os} on {arch}; it has them for Linux on x86_64 and aarch64, and macOS on aarch64"
    )]
    Platform {
        /// Operating system.
        os: &'static str,
        /// Processor.
        arch: &'static str,
    },
    /// A directory is not a libtorch of the version.
    #[error("{what}: {unfit}")]
    Unfit {
        /// The requirement that it does not meet.
        what: &'static str,
        /// The reason.
        unfit: Unfit,
    },
}

impl GetError {
    /// Names the file that the system refuses.
    pub(crate) fn file(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source }
    }
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => ": it wants a name and password, in its URL or in ~/.netrc",
        407 => ": the proxy wants a name and password, in its URL",
        _ => "",
    }
}

fn in_brackets(notes: &[String]) -> String {
    if notes.is_empty() { String::new() } else { format!(" ({})", notes.join("; ")) }
}

/// Writes a number of bytes as people say it: `543 MB`, `1.2 GB`.
pub fn size(bytes: u64) -> String {
    let bytes = bytes as f64;
    match bytes {
        _ if bytes >= 999.5e6 => format!("{:.1} GB", bytes / 1e9),
        _ if bytes >= 1e6 => format!("{:.0} MB", bytes / 1e6),
        _ => format!("{:.0} KB", (bytes / 1e3).ceil()),
    }
}
