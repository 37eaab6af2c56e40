//! Pages of a package index: the files of a project (PEP 503 and 691), and directories of files (`find-links`).

use std::io::Read;
use std::path::PathBuf;

use serde::Deserialize;
use ureq::http::header;

use crate::error::GetError;
use crate::html;
use crate::http::Client;
use crate::url::Url;

/// Both forms of a page, and the one of old mirrors.
const ACCEPT: &str =
    "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.01";
/// The longest page that is read; PyPI's longest have some megabytes.
const MAX_PAGE_LEN: u64 = 64 << 20;

/// A place where files are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// An index: a page for each project below it.
    Index(Url),
    /// One page with the files of all projects.
    Page(Url),
    /// A directory of files.
    Directory(PathBuf),
}

impl Source {
    /// Returns the address, for messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Index(url) | Self::Page(url) => url.shown(),
            Self::Directory(dir) => dir.display().to_string(),
        }
    }
}

/// A file that an index lists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its name, decoded.
    pub(crate) name: String,
    pub(crate) url: Url,
    /// Hex digits, in lower case.
    pub(crate) sha256: Option<String>,
    /// Length in bytes.
    pub(crate) size: Option<u64>,
    /// The reason why its makers withdrew it (PEP 592).
    pub(crate) yanked: Option<String>,
}

/// Lists the files of a project, named in its normal form (`nvidia-cuda-runtime`). Nothing where the source does not know it.
///
/// # Errors
/// When the source cannot be read.
pub(crate) fn list(client: &Client, source: &Source, project: &str) -> Result<Vec<Listed>, GetError> {
    match source {
        Source::Directory(dir) => list_directory(dir),
        Source::Page(url) => page(client, url),
        Source::Index(url) => {
            let project = url.with_path(format!("{}/{project}/", url.path.trim_end_matches('/')));
            match page(client, &project) {
                Err(GetError::Status { status: 404 | 410, .. }) => Ok(Vec::new()),
                listed => listed,
            }
        }
    }
}

fn list_directory(dir: &PathBuf) -> Result<Vec<Listed>, GetError> {
    let entries = match std::fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(GetError::file("read", dir))?,
    };
    let dir = std::path::absolute(dir).map_err(GetError::file("resolve", dir))?;
    let listed = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let size = entry.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len())?;
        let url = Url::of_file(&dir.join(&name))?;
        Some(Listed { name, url, sha256: None, size: Some(size), yanked: None })
    });
    Ok(listed.collect())
}

fn page(client: &Client, url: &Url) -> Result<Vec<Listed>, GetError> {
    let mut answer = client.get(url, ACCEPT, 0)?;
    let wrong = |what: String| GetError::Page { url: url.shown(), what };
    let mut bytes = Vec::new();
    let body = &mut answer.body;
    body.take(MAX_PAGE_LEN + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| wrong(format!("breaks off: {error}")))?;
    if bytes.len() as u64 > MAX_PAGE_LEN {
        return Err(wrong(format!("has more than {MAX_PAGE_LEN} bytes")));
    }
    let is_json = answer.header(header::CONTENT_TYPE).is_some_and(|kind| kind.contains("json"));
    if is_json {
        return of_json(&answer.url, &bytes)
            .map_err(|error| wrong(format!("is no JSON of PEP 691: {error}")));
    }
    Ok(of_html(&answer.url, &String::from_utf8_lossy(&bytes)))
}

/// A page of PEP 691, as far as it is needed.
#[derive(Deserialize)]
struct JsonPage {
    files: Vec<JsonFile>,
}

#[derive(Deserialize)]
struct JsonFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: std::collections::BTreeMap<String, String>,
    size: Option<u64>,
    #[serde(default)]
    yanked: Yanked,
}

/// `false`, `true`, or a reason.
#[derive(Deserialize)]
#[serde(untagged)]
enum Yanked {
    Flag(bool),
    Reason(String),
}

impl Default for Yanked {
    fn default() -> Self {
        Self::Flag(false)
    }
}

fn of_json(at: &Url, bytes: &[u8]) -> Result<Vec<Listed>, serde_json::Error> {
    let page: JsonPage = serde_json::from_slice(bytes)?;
    let listed = page.files.into_iter().filter_map(|file| {
        let url = at.join(&file.url)?;
        Some(Listed {
            name: file.filename,
            sha256: file.hashes.get("sha256").map(|hash| hash.to_lowercase()),
            url,
            size: file.size,
            yanked: match file.yanked {
                Yanked::Flag(flag) => flag.then(String::new),
                Yanked::Reason(reason) => Some(reason),
            },
        })
    });
    Ok(listed.collect())
}

fn of_html(at: &Url, text: &str) -> Vec<Listed> {
    let html::Links { base, links } = html::links(text);
    let base = base.and_then(|base| at.join(&base)).unwrap_or_else(|| at.clone());
    let listed = links.into_iter().filter_map(|link| {
        let url = base.join(&link.href)?;
        let name = url.file_name();
        let hash = url.fragment.as_ref().and_then(|fragment| {
            fragment.split('&').find_map(|part| part.strip_prefix("sha256=")).map(str::to_lowercase)
        });
        Some(Listed { name, sha256: hash, size: None, yanked: link.yanked, url })
    });
    listed.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_page_list_the_same_files() {
        let at = Url::parse("https://index.example/whl/cu126/torch/").unwrap();
        let html = "<a href=\"/whl/cu126/torch-2.11.0%2Bcu126-cp310-cp310-manylinux_2_28_x86_64.whl#sha256=AB\">torch</a>\
                    <a href=\"../old-1.whl\" data-yanked=\"broken\">old</a>";
        let json = r#"{"meta": {"api-version": "1.1"}, "name": "torch", "files": [
            {"filename": "torch-2.11.0+cu126-cp310-cp310-manylinux_2_28_x86_64.whl", "hashes": {"sha256": "ab"}, "yanked": false,
             "url": "/whl/cu126/torch-2.11.0%2Bcu126-cp310-cp310-manylinux_2_28_x86_64.whl#sha256=AB", "requires-python": ">=3.10"},
            {"filename": "old-1.whl", "url": "../old-1.whl", "hashes": {}, "yanked": "broken"}]}"#;
        let of_html = of_html(&at, html);
        assert_eq!(of_html, of_json(&at, json.as_bytes()).unwrap());
        assert_eq!(of_html[0].name, "torch-2.11.0+cu126-cp310-cp310-manylinux_2_28_x86_64.whl");
        assert_eq!(of_html[0].sha256.as_deref(), Some("ab"));
        assert_eq!(of_html[1].url.shown(), "https://index.example/whl/cu126/old-1.whl");
        assert_eq!(of_html[1].yanked.as_deref(), Some("broken"));
    }
}
