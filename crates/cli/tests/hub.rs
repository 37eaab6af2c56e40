//! Models by their name on the hub: fetched from one that this test plays, found in the cache, and not to be had.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::{Scene, run};
use serde_json::json;

/// The version of everything on the hub.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A hub with one model, `org/tiny`, whose files lie in a directory; it keeps the paths it was asked for.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(dir: PathBuf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (dir, log) = (dir.clone(), log.clone());
                std::thread::spawn(move || {
                    // A connection only to see whether the hub is there asks for nothing.
                    let _ = answer(stream, &dir, &log);
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Answers one request as the hub does.
fn answer(mut stream: TcpStream, dir: &std::path::Path, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let Some(path) = first.split(' ').nth(1).map(str::to_owned) else { return Ok(()) };
    let headers: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let header = |name: &str| {
        headers.iter().find_map(|line| line.to_lowercase().strip_prefix(name).map(str::to_owned))
    };
    let token = header("authorization: ").unwrap_or_default();
    log.lock().unwrap().push(path.clone());
    let mut reply = |status: &str, extra: &str, body: &[u8]| {
        write!(
            stream,
            "HTTP/1.1 {status}\r\nConnection: close\r\nContent-Length: {}\r\n{extra}\r\n",
            body.len()
        )?;
        stream.write_all(body)
    };
    if path.contains("org/gated") && token != "bearer secret" {
        return reply("401 Unauthorized", "", b"");
    }
    if path.starts_with("/api/models/org/tiny") {
        let names = fs::read_dir(dir)?.flatten().map(|entry| entry.file_name().into_string().unwrap());
        let siblings: Vec<_> = names.map(|name| json!({"rfilename": name})).collect();
        return reply("200 OK", "", json!({"sha": COMMIT, "siblings": siblings}).to_string().as_bytes());
    }
    let file = path.strip_prefix("/org/tiny/resolve/main/").and_then(|name| fs::read(dir.join(name)).ok());
    let Some(bytes) = file else { return reply("404 Not Found", "", b"") };
    let range = header("range: bytes=").unwrap_or_default();
    let (start, end) = range.split_once('-').unwrap_or(("0", ""));
    let start: usize = start.parse().unwrap_or(0);
    let end = end.parse().map_or(bytes.len(), |end: usize| (end + 1).min(bytes.len()));
    let name = path.rsplit('/').next().unwrap_or_default();
    let extra = format!(
        "X-Repo-Commit: {COMMIT}\r\nETag: \"{name}-etag\"\r\nContent-Range: bytes {start}-{}/{}\r\n",
        end.saturating_sub(1),
        bytes.len()
    );
    reply("206 Partial Content", &extra, &bytes[start..end])
}

/// `finetune --plan` of a model by this name, with the cache in the scene and none of the user's settings.
fn plan(scene: &Scene, id: &str) -> Command {
    let mut command = scene.bare(&["--plan", "--base_model", id, "--device", "cpu"]);
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"] {
        command.env_remove(name);
    }
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("HF_HOME", scene.path("hf"));
    command
}

#[test]
fn a_model_of_the_hub_is_fetched_once_and_then_found_in_the_cache() {
    let scene = Scene::new();
    fs::write(scene.path("model").join("README.md"), "not for us").unwrap();
    let hub = Hub::start(scene.path("model"));
    let fetched = run(plan(&scene, "org/tiny").env("HF_ENDPOINT", &hub.address)).ok();
    assert!(fetched.stdout.contains("org/tiny"), "{}", fetched.stdout);
    let snapshot = scene.path(&format!("hf/hub/models--org--tiny/snapshots/{COMMIT}"));
    for name in ["config.json", "model.safetensors", "tokenizer.json"] {
        assert_eq!(fs::read(snapshot.join(name)).unwrap(), fs::read(scene.path("model").join(name)).unwrap());
    }
    assert!(!hub.asked().iter().any(|path| path.ends_with("README.md")));

    let asked = hub.asked().len();
    let again = run(plan(&scene, "org/tiny").env("HF_ENDPOINT", &hub.address)).ok();
    // The last line says how much memory is free.
    let shape = |done: &common::Done| done.stdout.split("fits").next().unwrap().to_owned();
    assert_eq!(shape(&again), shape(&fetched));
    run(plan(&scene, "org/tiny").env("HF_HUB_OFFLINE", "1")).ok();
    assert_eq!(hub.asked().len(), asked, "{:?}", hub.asked());

    // What was cut off is fetched, not taken for whole.
    fs::remove_file(snapshot.join("model.safetensors")).unwrap();
    run(plan(&scene, "org/tiny").env("HF_HUB_OFFLINE", "1")).refused(2, &["HF_HUB_OFFLINE is set"]);
    run(plan(&scene, "org/tiny").env("HF_ENDPOINT", &hub.address)).ok();
    assert!(snapshot.join("model.safetensors").exists());
}

#[test]
fn refusals_of_the_hub_are_explained() {
    let scene = Scene::new();
    let hub = Hub::start(scene.path("model"));
    let ask =
        |id: &str, token: &str| run(plan(&scene, id).env("HF_ENDPOINT", &hub.address).env("HF_TOKEN", token));
    ask("org/none", "").refused(2, &["neither a directory nor a model of the hub called `org/none`"]);
    ask("org/gated", "").refused(2, &["`org/gated`", "status 401", "HF_TOKEN"]);
    // With the token the hub says that it has no such model after all.
    ask("org/gated", "secret").refused(2, &["neither a directory nor a model"]);
    fs::remove_file(scene.path("model").join("config.json")).unwrap();
    ask("org/tiny", "").refused(1, &["`org/tiny` is no model", "config.json"]);
}

#[test]
fn without_a_connection_it_fails_at_once_and_says_what_to_do() {
    let scene = Scene::new();
    // A port that was free a moment ago answers nobody.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let begun = std::time::Instant::now();
    let endpoint = format!("http://127.0.0.1:{port}");
    let said = run(plan(&scene, "org/tiny").env("HF_ENDPOINT", &endpoint));
    let ways =
        ["give a local directory", "hf download org/tiny", "HF_HOME", "HF_ENDPOINT", "cannot be reached"];
    said.refused(2, &ways);
    assert!(begun.elapsed().as_secs() < 20);
    assert!(!scene.path("hf").exists(), "something was left behind");
}
