//! The lab sheet's own lines, word for word, with a small model in place of the 7B. Its scripts of Python are `merge` here.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::{Scene, names, run, workspace};

/// The model that the sheet names.
const MODEL: &str = "/mnt/model/llama-7b-hf0527";
/// The scripts that the sheet runs, and the programs that take their place.
const SCRIPTS: [(&str, &str); 2] = [
    ("python finetune.py", env!("CARGO_BIN_EXE_finetune")),
    ("python generate.py", env!("CARGO_BIN_EXE_generate")),
];

/// The blocks of the sheet in this language, of a sheet that is at hand.
fn blocks(sheet: &str, language: &str) -> Vec<String> {
    let opening = format!("```{language}\n");
    let parts = sheet.split(&opening).skip(1);
    parts.map(|part| part.split("```").next().unwrap().to_owned()).collect()
}

/// A shell that runs a block in the scene.
fn shell(scene: &Scene, block: &str) -> Command {
    let mut script = block.replace(MODEL, scene.path("model").to_str().unwrap());
    for (name, program) in SCRIPTS {
        script = script.replace(name, &format!("exec {program}"));
    }
    let mut command = Command::new("sh");
    command.args(["-c", &script]).current_dir(scene.path(".")).env("OMP_NUM_THREADS", "1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_lab_sheets_lines_run_word_for_word() {
    let path = workspace().join("../shared/mission/lab-sheet.zh.md");
    let Ok(sheet) = fs::read_to_string(&path) else {
        eprintln!("skipped: the lab sheet's lines need {}", path.display());
        return;
    };
    let commands = blocks(&sheet, "bash");
    let [finetune, generate] = commands.as_slice() else { panic!("{} commands", commands.len()) };
    assert!(finetune.contains("--data_path './mini_data.json'") && generate.contains("'./lora-alpaca '"));

    let scene = Scene::new();
    fs::copy(workspace().join("datasets/mini_data.json"), scene.path("mini_data.json")).unwrap();
    let trained = run(&mut shell(&scene, finetune)).ok();
    assert_eq!(trained.stdout, "./lora-alpaca\n");
    assert!(names(&scene.path("lora-alpaca")).contains(&"adapter_model.safetensors".to_owned()));

    serve(&scene, generate);

    let scripts = blocks(&sheet, "python");
    let outputs =
        [("./alpaca-lora-hf", "hf", "config.json"), ("./alpaca-lora-statedict", "state-dict", "params.json")];
    assert_eq!(scripts.len(), outputs.len());
    for (script, (output, format, file)) in scripts.iter().zip(outputs) {
        assert!(script.contains(&format!("output_dir = \"{output}\"")), "{script}");
        let mut merge = Command::new(env!("CARGO_BIN_EXE_merge"));
        merge.current_dir(scene.path(".")).args(["--base_model", "model", "--lora_weights", "./lora-alpaca"]);
        run(merge.args(["--output_dir", output, "--format", format, "--threads", "1"])).ok();
        assert!(scene.path(output).join(file).is_file());
    }
}

/// Runs the sheet's server, which listens on its usual port, and asks for the page.
fn serve(scene: &Scene, block: &str) {
    let mut server = shell(scene, block).spawn().unwrap();
    let mut said = String::new();
    let mut address = None;
    for line in BufReader::new(server.stderr.take().unwrap()).lines().map_while(Result::ok) {
        address =
            line.split("listening on http://").nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned());
        said.push_str(&line);
        said.push('\n');
        if address.is_some() {
            break;
        }
    }
    let page = address.map(|address| {
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page
    });
    let _ = server.kill();
    server.wait().unwrap();
    match page {
        Some(page) => assert!(page.starts_with("HTTP/1.1 200") && page.contains("<html"), "{page}"),
        None if said.contains("cannot listen on") => {
            eprintln!("skipped: another program has the sheet's port");
        }
        None => panic!("{said}"),
    }
    assert!(said.contains("`./lora-alpaca`"), "the blank is told: {said}");
}
