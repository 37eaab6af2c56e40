//! Files of one repository: found in the cache, or fetched into it.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hf_hub::Cache;
use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use serde_json::Value;

use super::kind::RepoKind;
use crate::CheckpointError;
use crate::text_file::read_small;

/// Address of the hub, unless `HF_ENDPOINT` is another.
const HUB: &str = "https://huggingface.co";
/// Time that a connection may take before the machine counts as offline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest index that is read, in bytes; real ones have a hundred thousand.
const MAX_INDEX_BYTES: u64 = 64 << 20;
/// Revision that is taken where none is named.
const MAIN: &str = "main";

/// Repository of the hub, at one revision.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) kind: RepoKind,
    pub(super) id: &'a str,
    revision: &'a str,
}

impl<'a> Request<'a> {
    /// Names a repository; without a revision, its main branch.
    pub(super) fn new(kind: RepoKind, id: &'a str, revision: Option<&'a str>) -> Self {
        Self { kind, id, revision: revision.unwrap_or(MAIN) }
    }

    /// Returns the snapshot of this revision in the cache, with whatever files it has.
    pub(super) fn cached(self) -> Option<PathBuf> {
        let (cache, _) = cache();
        let repo = cache.path().join(self.kind.repo(self.id, MAIN).folder_name());
        let commit = read_small(&repo.join("refs").join(self.revision)).ok();
        let commit = commit.as_deref().map_or(self.revision, str::trim);
        let snapshot = repo.join("snapshots").join(commit);
        snapshot.is_dir().then_some(snapshot)
    }

    /// Fetches the files that `choose` picks from all names of the repository, and the shards that an index among them names.
    /// Files that are in the cache stay. Returns the snapshot's folder.
    ///
    /// # Errors
    /// When the hub cannot be asked or does not give them, with what the user can do; and the errors of `choose`.
    pub(super) fn fetch(
        self,
        choose: impl Fn(&[String]) -> Result<Vec<String>, CheckpointError>,
    ) -> Result<PathBuf, CheckpointError> {
        let (cache, token) = cache();
        let endpoint = self.reach()?;
        let api = ApiBuilder::from_cache(cache.clone())
            .with_endpoint(endpoint)
            .with_token(token)
            .with_retries(2)
            .build()
            .map_err(|source| CheckpointError::Client(Box::new(source)))?;
        let hub = api.repo(self.kind.repo(self.id, self.revision));
        let refused = |error| self.refusal(&error, &cache);
        let info = hub.info().map_err(refused)?;
        let names: Vec<String> = info.siblings.into_iter().map(|file| file.rfilename).collect();
        let chosen = choose(&names)?;
        // Should the repository change meanwhile, what came before is of another version and is fetched again.
        for _ in 0..2 {
            let folders = fetch_all(&hub, &chosen, &refused)?;
            if let [dir, rest @ ..] = folders.as_slice()
                && rest.iter().all(|other| other == dir)
            {
                return Ok(dir.clone());
            }
        }
        Err(CheckpointError::Changed { id: self.id.to_owned() })
    }

    /// Returns the hub's address when it may be asked and answers.
    ///
    /// # Errors
    /// [`CheckpointError::NotFetched`] with the reason.
    pub(super) fn reach(self) -> Result<String, CheckpointError> {
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
        let not_fetched = |reason: &str| Err(self.not_fetched(reason, &cache().0));
        if is_offline() {
            return not_fetched("HF_HUB_OFFLINE is set");
        }
        match reach(&endpoint) {
            Ok(()) => Ok(endpoint),
            Err(reason) => not_fetched(&format!("{endpoint} cannot be reached ({reason})")),
        }
    }

    /// Explains the hub's refusal.
    fn refusal(self, error: &ApiError, cache: &Cache) -> CheckpointError {
        let status = match error {
            ApiError::RequestError(error) => match **error {
                ureq::Error::StatusCode(status) => Some(status),
                _ => None,
            },
            _ => None,
        };
        let (kind, id) = (self.kind, self.id.to_owned());
        match status {
            Some(status @ (401 | 403)) => CheckpointError::Gated { kind, id, status },
            Some(404) => CheckpointError::UnknownModel { kind, id },
            _ => self.not_fetched(&error.to_string(), cache),
        }
    }

    fn not_fetched(self, reason: &str, cache: &Cache) -> CheckpointError {
        CheckpointError::NotFetched {
            kind: self.kind,
            id: self.id.to_owned(),
            cache: cache.path().clone(),
            reason: reason.to_owned(),
        }
    }
}

/// Finds the cache, which other programs share, and the token that opens gated repositories.
fn cache() -> (Cache, Option<String>) {
    let home = Cache::from_env();
    let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(|| home.token());
    (variable("HF_HUB_CACHE").map_or(home, |path| Cache::new(path.into())), token)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn is_offline() -> bool {
    variable("HF_HUB_OFFLINE").is_some_and(|value| !["0", "false", "no"].contains(&&*value.to_lowercase()))
}

/// Lists the shards that an index names; none for a file that is no index.
pub(super) fn shards(path: &Path) -> Result<Vec<String>, CheckpointError> {
    if !path.to_string_lossy().ends_with(".index.json") {
        return Ok(Vec::new());
    }
    let unread = |source| CheckpointError::ShardIndex { path: path.to_owned(), source };
    let text = weights::read_text(path, MAX_INDEX_BYTES).map_err(|error| unread(Some(error.into())))?;
    let index: Value = serde_json::from_str(&text).map_err(|error| unread(Some(error.into())))?;
    let map = index["weight_map"].as_object().ok_or_else(|| unread(None))?;
    let mut names: Vec<String> = map.values().filter_map(Value::as_str).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    let is_plain = |name: &String| {
        let mut parts = Path::new(name).components();
        matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
    };
    match names.iter().find(|name| !is_plain(name)) {
        None => Ok(names),
        Some(name) => Err(CheckpointError::ShardName { path: path.to_owned(), name: name.clone() }),
    }
}

/// Checks that the host of `endpoint` answers. A proxy, if there is one, finds that out itself.
fn reach(endpoint: &str) -> Result<(), String> {
    let proxies = ["HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"];
    if proxies.into_iter().any(|name| variable(name).is_some()) {
        return Ok(());
    }
    let (scheme, rest) = endpoint.split_once("://").ok_or("it is no address")?;
    let host = rest.split('/').next().unwrap_or(rest);
    let default_port = if scheme == "http" { 80 } else { 443 };
    let address = if host.contains(':') { host.to_owned() } else { format!("{host}:{default_port}") };
    let found = address.to_socket_addrs().map_err(|error| error.to_string())?;
    let mut failure = "it has no address".to_owned();
    for address in found {
        match TcpStream::connect_timeout(&address, CONNECT_TIMEOUT) {
            Ok(_) => return Ok(()),
            Err(error) => failure = error.to_string(),
        }
    }
    Err(failure)
}

/// Returns the snapshot's folder that each file is in, after fetching those that are not there.
fn fetch_all(
    hub: &ApiRepo,
    names: &[String],
    refused: &dyn Fn(ApiError) -> CheckpointError,
) -> Result<Vec<PathBuf>, CheckpointError> {
    let mut folders = Vec::new();
    let mut get = |name: &str| {
        let path = hub.get(name).map_err(refused)?;
        folders.extend(path.ancestors().nth(name.split('/').count()).map(Path::to_owned));
        Ok::<_, CheckpointError>(path)
    };
    for name in names {
        for shard in shards(&get(name)?)? {
            get(&shard)?;
        }
    }
    Ok(folders)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shards_outside_the_folder_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("model.safetensors.index.json");
        std::fs::write(&path, r#"{"weight_map": {"a": "m-1.safetensors", "b": "m-1.safetensors"}}"#).unwrap();
        assert_eq!(shards(&path).unwrap(), ["m-1.safetensors"]);
        std::fs::write(&path, r#"{"weight_map": {"a": "../m.safetensors"}}"#).unwrap();
        assert!(shards(&path).unwrap_err().to_string().contains("../m.safetensors"));
    }
}
