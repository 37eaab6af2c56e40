//! Models of the hub, fetched into its usual cache.

use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, CacheRepo, Repo};
use serde_json::Value;

use crate::CheckpointError;
use crate::tokenizer_files::TOKENIZER_FILES;

/// Address of the hub, unless `HF_ENDPOINT` is another.
const HUB: &str = "https://huggingface.co";
/// Time that a connection may take before the machine counts as offline.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// File with a model's shape.
const CONFIG: &str = "config.json";
/// Weights, most wanted first: a single file, or an index that names its shards.
const WEIGHTS: [&str; 4] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
];

/// Tells whether `name` may be that of a model on the hub: `organisation/model`.
pub(super) fn is_id(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
    };
    name.split_once('/').is_some_and(|(organisation, model)| plain(organisation) && plain(model))
}

/// Returns the directory of the model `id` in the hub's cache, after fetching the files that are not there yet. A
/// model that is there as a whole is taken as it is, without asking the hub.
///
/// # Errors
/// When the hub cannot be asked, or does not give it; with what the user can do.
pub(super) fn fetch(id: &str) -> Result<PathBuf, CheckpointError> {
    let (cache, token) = cache();
    let repo = Repo::model(id.to_owned());
    if let Some(dir) = whole(&cache.repo(repo.clone())) {
        return Ok(dir);
    }
    let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| HUB.to_owned());
    if variable("HF_HUB_OFFLINE").is_some_and(|value| !["0", "false", "no"].contains(&&*value.to_lowercase()))
    {
        return Err(not_fetched(id, "HF_HUB_OFFLINE is set", &cache));
    }
    if let Err(reason) = reach(&endpoint) {
        return Err(not_fetched(id, &format!("{endpoint} cannot be reached ({reason})"), &cache));
    }
    let api = ApiBuilder::from_cache(cache.clone())
        .with_endpoint(endpoint)
        .with_token(token)
        .with_retries(2)
        .build()
        .map_err(|source| CheckpointError::Client(Box::new(source)))?;
    tracing::info!("fetching `{id}` into {}", cache.path().display());
    download(&api, &repo, id, &cache)
}

/// Finds the cache, which other programs share, and the token that opens gated models.
fn cache() -> (Cache, Option<String>) {
    let home = Cache::from_env();
    let token = variable("HF_TOKEN").or_else(|| variable("HUGGING_FACE_HUB_TOKEN")).or_else(|| home.token());
    (variable("HF_HUB_CACHE").map_or(home, |path| Cache::new(path.into())), token)
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns the directory of a model that is in the cache with all that loading it needs.
fn whole(cache: &CacheRepo) -> Option<PathBuf> {
    let dir = cache.get(CONFIG)?.parent()?.to_owned();
    let weights = WEIGHTS.iter().map(|name| dir.join(name)).find(|path| path.exists())?;
    let shards = shards(&weights).ok()?;
    let tokenizer = ["tokenizer.json", "tokenizer.model"].iter().any(|name| dir.join(name).exists());
    (tokenizer && shards.iter().all(|shard| dir.join(shard).exists())).then_some(dir)
}

/// Bytes of an index; real ones have a hundred thousand.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Lists the shards that an index names; none for a single file.
fn shards(path: &Path) -> Result<Vec<String>, CheckpointError> {
    if path.extension().is_none_or(|extension| extension != "json") {
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

/// Fetches the files that loading the model needs.
fn download(api: &Api, repo: &Repo, id: &str, cache: &Cache) -> Result<PathBuf, CheckpointError> {
    let hub = api.repo(repo.clone());
    let refused = |error| refusal(id, &error, cache);
    let info = hub.info().map_err(refused)?;
    let has = |name: &str| info.siblings.iter().any(|file| file.rfilename == name);
    let weights = WEIGHTS.into_iter().find(|name| has(name)).filter(|_| has(CONFIG)).ok_or_else(|| {
        let expected = format!("{CONFIG} and one of {}", WEIGHTS.join(", "));
        CheckpointError::NotHuggingFace { id: id.to_owned(), expected }
    })?;
    let files: Vec<&str> =
        std::iter::once(CONFIG).chain(TOKENIZER_FILES.into_iter().filter(|name| has(name))).collect();
    // Should the model be replaced meanwhile, what came before is of another version and is fetched again.
    for _ in 0..2 {
        let folders = fetch_all(&hub, &files, weights, &refused)?;
        if let [dir, rest @ ..] = folders.as_slice()
            && rest.iter().all(|other| other == dir)
        {
            return Ok(dir.clone());
        }
    }
    Err(CheckpointError::Changed { id: id.to_owned() })
}

/// Returns the folder of each file, after fetching those that are not there.
fn fetch_all(
    hub: &ApiRepo,
    files: &[&str],
    weights: &str,
    refused: &dyn Fn(ApiError) -> CheckpointError,
) -> Result<Vec<PathBuf>, CheckpointError> {
    let get = |name: &str| hub.get(name).map_err(refused);
    let weights = get(weights)?;
    let mut paths = shards(&weights)?.iter().map(|shard| get(shard)).collect::<Result<Vec<_>, _>>()?;
    paths.push(weights);
    for name in files {
        paths.push(get(name)?);
    }
    Ok(paths.iter().filter_map(|path| path.parent()).map(Path::to_owned).collect())
}

/// Explains the hub's refusal.
fn refusal(id: &str, error: &ApiError, cache: &Cache) -> CheckpointError {
    let status = match error {
        ApiError::RequestError(error) => match **error {
            ureq::Error::StatusCode(status) => Some(status),
            _ => None,
        },
        _ => None,
    };
    match status {
        Some(status @ (401 | 403)) => CheckpointError::Gated { id: id.to_owned(), status },
        Some(404) => CheckpointError::UnknownModel { id: id.to_owned() },
        _ => not_fetched(id, &error.to_string(), cache),
    }
}

fn not_fetched(id: &str, reason: &str, cache: &Cache) -> CheckpointError {
    CheckpointError::NotFetched { id: id.to_owned(), cache: cache.path().clone(), reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_the_hub_is_two_plain_words() {
        for name in ["org/model", "HuggingFaceTB/SmolLM2-135M-Instruct", "a/b.c_d-e"] {
            assert!(is_id(name), "{name}");
        }
        for name in
            ["model", "./model", "../model", "/org/model", "org/", "/model", "a/b/c", "org/mo del", "org/.."]
        {
            assert!(!is_id(name), "{name}");
        }
    }

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
