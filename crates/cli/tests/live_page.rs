//! The page of a run: it changes nothing of the run, and holds no text of others as anything but text.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Command;

use common::{Scene, adapter, metrics, names, run};
use serde_json::Value;

/// The address that a program says it serves at, from its lines.
fn address(lines: &mut impl Iterator<Item = std::io::Result<String>>) -> String {
    let found = lines.find_map(|line| {
        let rest = line.unwrap().split_once("live page: http://")?.1.to_owned();
        Some(rest.split(' ').next().unwrap().to_owned())
    });
    found.unwrap()
}

/// One request; the status and the body.
fn ask(address: &str, request: &str, headers: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: 0\r\n{headers}\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

#[test]
fn a_watched_run_is_the_run_that_nobody_watches() {
    let scene = Scene::new();
    run(&mut scene.finetune("plain", &[])).ok();
    let watched = run(&mut scene.finetune("watched", &["--web", "0"])).ok();
    assert!(watched.stderr.contains("live page: http://127.0.0.1:"), "{}", watched.stderr);
    assert_eq!(adapter(&scene.path("plain")), adapter(&scene.path("watched")));
    assert_eq!(metrics(&scene.path("plain")), metrics(&scene.path("watched")));
    for name in ["run.html", "loss.svg"] {
        assert!(names(&scene.path("plain")).contains(&name.to_owned()), "{name}");
    }
    let samples = fs::read_to_string(scene.path("watched/samples.jsonl")).unwrap();
    let samples: Vec<Value> = samples.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Three records at the evaluations after steps 3, 6, ... 18 and 20.
    assert_eq!(samples.len(), 3 * 7);
    assert!(samples[0]["prompt"].as_str().unwrap().contains("Repeat "), "{}", samples[0]);

    // The last answers are those of the adapter that `generate` loads.
    let last = samples.last().unwrap();
    assert_eq!(last["step"], 20);
    let adapter = scene.path("watched/checkpoint-20");
    let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
    let prompt = last["prompt"].as_str().unwrap();
    command.args(["--base_model", "model", "--lora_weights", adapter.to_str().unwrap(), "--prompt", prompt]);
    command.args(["--temperature", "0", "--max_new_tokens", "64", "--device", "cpu", "--json"]);
    let answer = run(command.current_dir(scene.path("")).env("OMP_NUM_THREADS", "1")).ok();
    let answer: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(answer["answer"].as_str().unwrap().trim(), last["answer"].as_str().unwrap().trim());

    // A resumed run keeps the answers that belong to its checkpoint, and gives the others again.
    fs::remove_dir_all(scene.path("watched/checkpoint-20")).unwrap();
    let more = ["--web", "0", "--resume_from_checkpoint", "watched/checkpoint-18"];
    run(&mut scene.finetune("watched", &more)).ok();
    let again = fs::read_to_string(scene.path("watched/samples.jsonl")).unwrap();
    let again: Vec<Value> = again.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(again, samples);
}

#[test]
fn a_page_that_cannot_be_served_or_written_ends_no_run() {
    let scene = Scene::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let done = run(&mut scene.finetune("out", &["--max_steps", "3", "--web", &port])).ok();
    assert!(done.stderr.contains("goes on without its live page"), "{}", done.stderr);
    fs::create_dir_all(scene.path("other/run.html/not-empty")).unwrap();
    fs::create_dir_all(scene.path("other/samples.jsonl")).unwrap();
    let more = ["--max_steps", "3", "--web", "0", "--resume_from_checkpoint", "latest"];
    let done = run(&mut scene.finetune("other", &more)).ok();
    assert!(names(&scene.path("other")).contains(&"adapter_model.safetensors".to_owned()), "{}", done.stderr);
    run(&mut scene.finetune("open", &["--web", "0", "--server_name", "0.0.0.0"]))
        .refused(2, &["other machines reach", "--api_key"]);
}

#[test]
fn the_live_page_shows_the_run_to_who_has_the_key_and_stops_it() {
    let scene = Scene::new();
    let args = ["--web", "0", "--api_key", "SECRET", "--num_epochs", "100000"];
    let mut child = scene.finetune("<img src=x>", &args).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = address(&mut lines);
    let rest = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>().join("\n"));
    let local = "Host: localhost\r\n";
    let (status, page) = ask(&address, "GET /", local);
    assert!(status == 200 && page.starts_with("<!doctype html>") && !page.contains("<img"), "{page}");
    assert!(
        !page.contains("/*STYLE*/") && !page.contains("http://") || page.contains("www.w3.org"),
        "{page}"
    );
    assert_eq!(ask(&address, "GET /api/run", local).0, 401);
    assert_eq!(ask(&address, "POST /api/stop", local).0, 401);
    let keyed = format!("{local}Authorization: Bearer SECRET\r\n");
    assert_eq!(ask(&address, "GET /api/nothing", &keyed).0, 404);
    // Another site can post text, but no JSON.
    assert_eq!(ask(&address, "POST /api/stop", &format!("{keyed}Content-Type: text/plain\r\n")).0, 415);
    let run = loop {
        let (status, body) = ask(&address, "GET /api/run", &keyed);
        assert_eq!(status, 200, "{body}");
        let run: Value = serde_json::from_str(&body).unwrap();
        if run["runs"][0]["step"].as_u64().unwrap() > 3 {
            break run["runs"][0].clone();
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    };
    assert_eq!((&run["state"], &run["name"]), (&"running".into(), &"<img src=x>".into()));
    assert!(!run.to_string().contains("SECRET") && run["command"].as_str().unwrap().contains("--api_key …"));
    assert_eq!(ask(&address, "POST /api/stop", &format!("{keyed}Content-Type: application/json\r\n")).0, 200);
    assert!(child.wait().unwrap().success());
    let told = rest.join().unwrap();
    assert!(told.contains("go on with --resume_from_checkpoint"), "{told}");
    let page = fs::read_to_string(scene.path("<img src=x>/run.html")).unwrap();
    assert!(page.contains("\\u003cimg src=x\\u003e") && !page.contains("<img"), "{page}");
}

#[test]
fn runs_are_compared_by_figures_and_settings() {
    let scene = Scene::new();
    for (out, rate) in [("a", "0.01"), ("b", "0.02")] {
        run(&mut scene.finetune(out, &["--max_steps", "4", "--learning_rate", rate])).ok();
    }
    let runs = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runs"));
        run(command.args(args).current_dir(scene.path("")))
    };
    let table = runs(&["a", "b", "--html", "both.html"]).ok().stdout;
    let line = |start: &str| table.lines().find(|line| line.starts_with(start)).unwrap().to_owned();
    assert!(line("learning_rate").ends_with("0.01  0.02"), "{table}");
    assert!(line("a ").contains("at step") && !table.contains("output_dir"), "{table}");
    let page = fs::read_to_string(scene.path("both.html")).unwrap();
    assert!(page.contains("\"name\":\"a\"") && page.contains("\"name\":\"b\""));
    let json: Value = serde_json::from_str(&runs(&["a", "b", "--json"]).ok().stdout).unwrap();
    assert_eq!(json["settings_that_differ"][0]["setting"], "learning_rate");
    assert_eq!(json["runs"][1]["steps"].as_array().unwrap().len(), 4);
    runs(&["model"]).refused(1, &["`model` holds no run", "output_dir"]);
}
