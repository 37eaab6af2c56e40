//! Models by their name on the hub: fetched from one that this test plays, found in the cache, and not to be had.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};

use common::{RECORDS, Scene, adapter, records, run};
use serde_json::json;

/// The version of everything on the hub.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A repository of the hub by its path there (`models/org/tiny`), and the directory of its files.
type Repos = Vec<(&'static str, PathBuf)>;

/// A hub with a few repositories; it keeps the paths it was asked for.
struct Hub {
    address: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    fn start(repos: Repos) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, repos) = (asked.clone(), Arc::new(repos));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (repos, log) = (repos.clone(), log.clone());
                std::thread::spawn(move || {
                    // A connection only to see whether the hub is there asks for nothing.
                    let _ = answer(stream, &repos, &log);
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
fn answer(mut stream: TcpStream, repos: &Repos, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
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
    let found = |path: &str, behind: &str| {
        repos.iter().find_map(|(repo, dir)| {
            let rest = path.strip_prefix(repo)?.strip_prefix(behind)?;
            Some((dir.clone(), rest.to_owned()))
        })
    };
    if let Some((dir, _)) = path.strip_prefix("/api/").and_then(|path| found(path, "/revision/")) {
        let siblings: Vec<_> = files(&dir, "").into_iter().map(|name| json!({"rfilename": name})).collect();
        return reply("200 OK", "", json!({"sha": COMMIT, "siblings": siblings}).to_string().as_bytes());
    }
    let of_kind = if path.starts_with("/datasets/") { path[1..].to_owned() } else { format!("models{path}") };
    let file = found(&of_kind, "/resolve/main/").and_then(|(dir, name)| fs::read(dir.join(name)).ok());
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

/// The files below a directory, by their path in it.
fn files(dir: &Path, prefix: &str) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap().flatten();
    let named =
        entries.map(|entry| (entry.path(), format!("{prefix}{}", entry.file_name().to_str().unwrap())));
    named
        .flat_map(|(path, name)| if path.is_dir() { files(&path, &format!("{name}/")) } else { vec![name] })
        .collect()
}

/// A command without any of the user's settings about the hub, with the cache in the scene.
fn at_home<'a>(scene: &Scene, command: &'a mut Command) -> &'a mut Command {
    for name in ["HF_HUB_CACHE", "HF_HUB_OFFLINE", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_ENDPOINT"] {
        command.env_remove(name);
    }
    for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"] {
        command.env_remove(name).env_remove(name.to_lowercase());
    }
    command.env("HF_HOME", scene.path("hf"))
}

/// An address where nobody answers: its port was free a moment ago.
fn nobody() -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    format!("http://127.0.0.1:{port}")
}

/// `finetune --plan` of a model by this name, with the cache in the scene and none of the user's settings. The records, which it
/// reads for the time of the run, are looked for on the disk alone.
fn plan(scene: &Scene, id: &str) -> Command {
    let mut command =
        scene.bare(&["--plan", "--base_model", id, "--data_path", "./absent.json", "--device", "cpu"]);
    at_home(scene, &mut command);
    command
}

#[test]
fn a_model_of_the_hub_is_fetched_once_and_then_found_in_the_cache() {
    let scene = Scene::new();
    fs::write(scene.path("model").join("README.md"), "not for us").unwrap();
    let hub = Hub::start(vec![("models/org/tiny", scene.path("model"))]);
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
    let hub = Hub::start(vec![("models/org/tiny", scene.path("model"))]);
    let ask =
        |id: &str, token: &str| run(plan(&scene, id).env("HF_ENDPOINT", &hub.address).env("HF_TOKEN", token));
    ask("org/none", "").refused(2, &["neither a directory nor a model of the hub called `org/none`"]);
    ask("org/gated", "").refused(2, &["`org/gated`", "status 401", "HF_TOKEN"]);
    // With the token the hub says that it has no such model after all.
    ask("org/gated", "secret").refused(2, &["neither a directory nor a model"]);
    fs::remove_file(scene.path("model").join("config.json")).unwrap();
    ask("org/tiny", "").refused(2, &["`org/tiny` is no model", "config.json"]);
}

#[test]
fn without_a_connection_it_fails_at_once_and_says_what_to_do() {
    let scene = Scene::new();
    let begun = std::time::Instant::now();
    let said = run(plan(&scene, "org/tiny").env("HF_ENDPOINT", nobody()));
    let ways =
        ["give a local directory", "hf download org/tiny", "HF_HOME", "HF_ENDPOINT", "cannot be reached"];
    said.refused(2, &ways);
    assert!(begun.elapsed().as_secs() < 20);
    assert!(!scene.path("hf").exists(), "something was left behind");
}

#[test]
fn a_data_set_of_the_hub_is_fetched_and_then_found_in_the_cache() {
    let scene = Scene::new();
    fs::create_dir_all(scene.path("set/data")).unwrap();
    let all = records(RECORDS);
    let lines = |range: std::ops::Range<usize>| {
        let lines: Vec<_> =
            all.as_array().unwrap()[range].iter().map(|record| record.to_string() + "\n").collect();
        lines.concat()
    };
    // As one file of the records, cut in two.
    scene.write("set/data/train-0.jsonl", lines(0..10));
    scene.write("set/data/train-1.jsonl", lines(10..RECORDS));
    scene.write("set/data/test.jsonl", "{\"instruction\": \"no record to train on\"}");
    scene.write("set/README.md", "not for us");
    fs::create_dir(scene.path("parquet")).unwrap();
    scene.write("parquet/train.parquet", "PAR1");
    let hub = Hub::start(vec![
        ("datasets/org/records", scene.path("set")),
        ("datasets/yahma/alpaca-cleaned", scene.path("set")),
        ("datasets/org/parquet", scene.path("parquet")),
    ]);
    let train = |out: &str, data: &[&str], variable: &str, value: &str| {
        let mut command = scene.bare(&["--base_model", "model", "--output_dir", out, "--device", "cpu"]);
        command.args([
            "--batch_size",
            "4",
            "--micro_batch_size",
            "2",
            "--max_steps",
            "2",
            "--warmup_steps",
            "0",
        ]);
        command.args(["--val_set_size", "4", "--threads", "1"]).args(data);
        run(at_home(&scene, &mut command).env(variable, value))
    };
    train("local", &["--data_path", "data.json"], "HF_HUB_OFFLINE", "1").ok();
    train("fetched", &["--data_path", "org/records"], "HF_ENDPOINT", &hub.address).ok();
    assert_eq!(adapter(&scene.path("fetched")), adapter(&scene.path("local")));
    let asked = hub.asked();
    assert!(
        asked.iter().all(|path| !path.ends_with("README.md") && !path.ends_with("test.jsonl")),
        "{asked:?}"
    );
    let offline = train("offline", &["--data_path", "org/records"], "HF_HUB_OFFLINE", "1").ok();
    assert!(
        offline.stderr.contains("from the cache, which may not hold all of it: HF_HUB_OFFLINE is set"),
        "{}",
        offline.stderr
    );
    assert_eq!(adapter(&scene.path("offline")), adapter(&scene.path("local")));
    train("alone", &["--data_path", "org/records"], "HF_ENDPOINT", &nobody()).ok();
    // alpaca-lora's default.
    train("default", &[], "HF_ENDPOINT", &hub.address).ok();
    assert_eq!(adapter(&scene.path("default")), adapter(&scene.path("local")));

    let refused = |id: &str, parts: &[&str]| {
        train("none", &["--data_path", id], "HF_ENDPOINT", &hub.address).refused(2, parts);
        assert!(!scene.path("none").exists());
    };
    refused("org/parquet", &["data set `org/parquet` has no JSON", "train.parquet"]);
    refused("org/none", &["neither a file nor a data set of the hub called `org/none`"]);
    let unfetched = train("none", &["--data_path", "org/never"], "HF_HUB_OFFLINE", "1");
    unfetched.refused(2, &["`org/never` is no local file", "hf download --repo-type dataset org/never"]);
}

#[test]
fn an_adapter_of_the_hub_is_taken_by_every_program() {
    let scene = Scene::new();
    run(&mut scene.finetune("lora", &["--max_steps", "4"])).ok();
    let hub =
        Hub::start(vec![("models/org/lora", scene.path("lora")), ("models/org/tiny", scene.path("model"))]);
    let program = |name: &str, args: &[&str], variable: &str, value: &str| {
        let mut command = Command::new(name);
        command.current_dir(scene.path(".")).args(args).args(["--threads", "1"]).env("OMP_NUM_THREADS", "1");
        run(at_home(&scene, &mut command).env(variable, value))
    };
    let text = ["--prompt", "Repeat", "--temperature", "0", "--max_new_tokens", "8", "--base_model", "model"];
    let generate = |lora: &str, variable: &str, value: &str| {
        let args = [&text[..], &["--lora_weights", lora]].concat();
        program(env!("CARGO_BIN_EXE_generate"), &args, variable, value)
    };
    let local = generate("lora", "HF_HUB_OFFLINE", "1").ok().stdout;
    generate("org/lora", "HF_HUB_OFFLINE", "1")
        .refused(2, &["`org/lora` is no local directory", "an adapter"]);
    assert_eq!(generate("org/lora", "HF_ENDPOINT", &hub.address).ok().stdout, local);
    let asked = hub.asked();
    assert!(!asked.iter().any(|path| path.ends_with("optimizer.safetensors")), "{asked:?}");
    assert_eq!(generate("org/lora", "HF_HUB_OFFLINE", "1").ok().stdout, local);
    assert_eq!(hub.asked(), asked, "what is there is not asked for again");
    generate("org/tiny", "HF_ENDPOINT", &hub.address)
        .refused(2, &["`org/tiny` is no adapter", "a whole model"]);

    let snapshot = scene.path(&format!("hf/hub/models--org--lora/snapshots/{COMMIT}"));
    assert_eq!(adapter(&snapshot), adapter(&scene.path("lora")));
    let data = ["--data_path", "data.json", "--base_model", "model", "--max_new_tokens", "4"];
    let evaluate = |lora: &str| {
        let args = [&data[..], &["--lora_weights", lora]].concat();
        program(env!("CARGO_BIN_EXE_evaluate"), &args, "HF_HUB_OFFLINE", "1").ok().stdout
    };
    assert_eq!(evaluate("org/lora"), evaluate("lora"));
    let compare = [
        &data[..],
        &["--reference_model", "model", "--reference_lora", "lora", "--lora_weights", "org/lora"],
    ];
    let compared = program(env!("CARGO_BIN_EXE_compare"), &compare.concat(), "HF_HUB_OFFLINE", "1").ok();
    assert!(compared.stdout.contains("100.00 % of the greedy tokens"), "{}", compared.stdout);
    let merge = |output: &str, flags: &[&str]| {
        let args = [&["--base_model", "model", "--output_dir", output][..], flags].concat();
        program(env!("CARGO_BIN_EXE_merge"), &args, "HF_HUB_OFFLINE", "1").ok();
        fs::read(scene.path(output).join("model.safetensors")).unwrap()
    };
    let merged = merge("merged", &["--lora_weights", "lora"]);
    assert_eq!(merge("merged-hub", &["--lora_weights", "org/lora"]), merged);
    assert_eq!(merge("merged-weighted", &["--adapter", "org/lora:1"]), merged);
}
