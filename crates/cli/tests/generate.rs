//! `generate` as its user has it: flags in, text out, and the same text by every way.

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use common::{Scene, run};
use serde_json::{Value, json};

/// `generate` on the scene's model, greedily, on one thread. Flags in `args` that it names itself take the place of its
/// own.
fn generate(scene: &Scene, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_generate"));
    let own = [
        ("--base_model", "model"),
        ("--temperature", "0"),
        ("--max_new_tokens", "12"),
        ("--prompt_template", "alpaca_short"),
        ("--device", "cpu"),
        ("--threads", "1"),
    ];
    for (flag, value) in own.into_iter().filter(|(flag, _)| !args.contains(flag)) {
        command.args([flag, value]);
    }
    command.args(args).current_dir(scene.path("")).env("OMP_NUM_THREADS", "1").env_remove("BASE_MODEL");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn answer(scene: &Scene, args: &[&str]) -> String {
    run(&mut generate(scene, args)).ok().stdout
}

#[test]
fn a_streamed_answer_equals_the_whole_one() {
    let scene = Scene::new();
    let whole = answer(&scene, &["--instruction", "Repeat sun.", "--input", "moon"]);
    assert!(whole.len() > 4 && whole.ends_with('\n'), "{whole:?}");
    let streamed = ["--instruction", "Repeat sun.", "--input", "moon", "--stream_output"];
    assert_eq!(answer(&scene, &streamed), whole);
    let raw = answer(&scene, &["--prompt", "### Instruction:\nRepeat sun.\n"]);
    assert_ne!(raw, whole, "a prompt is taken without the template");
    let beams = ["--instruction", "Repeat sun.", "--input", "moon", "--num_beams", "3"];
    assert_eq!(answer(&scene, &beams), answer(&scene, &beams));
    let drawn = |seed| {
        answer(
            &scene,
            &["--prompt", "a", "--temperature", "1.5", "--top_k", "0", "--top_p", "1", "--seed", seed],
        )
    };
    assert_eq!(drawn("1"), drawn("1"));
    assert_ne!(drawn("1"), drawn("2"));
}

#[test]
fn wrong_flags_are_rejected_in_one_line() {
    let scene = Scene::new();
    for (args, part) in [
        (&["--load_8bit", "--load_4bit"][..], "ask for one of them"),
        (&["--instruction", " "], "instruction is empty"),
        (&["--lora_weights", "nowhere", "--prompt", "a"], "is not a directory"),
        (&["--file", "data.json"], "file needs --out"),
        (&["--compare", "model=model", "--server_port", "0"], "two sources are called `model`"),
    ] {
        run(&mut generate(&scene, args)).refused(2, &[part]);
    }
    run(&mut generate(&scene, &["--prompt", &"long ".repeat(100)])).refused(1, &["the prompt has"]);
}

#[test]
fn a_file_is_answered_in_order_and_resumed() {
    let scene = Scene::new();
    let prompts: Vec<Value> = (0..7)
        .map(|index| match index {
            3 => json!({ "prompt": "as it is" }),
            5 => json!({ "instruction": "too long ".repeat(60) }),
            _ => json!({ "instruction": format!("Repeat {index}."), "input": "x".repeat(index), "other": 1 }),
        })
        .collect();
    let lines = |values: &[Value]| values.iter().map(Value::to_string).collect::<Vec<_>>().join("\n") + "\n";
    scene.write("in.jsonl", lines(&prompts));
    let args = ["--file", "in.jsonl", "--out", "out.jsonl", "--batch_size", "3"];
    run(&mut generate(&scene, &args)).ok();
    let timeless = || -> Vec<Value> {
        let text = fs::read_to_string(scene.path("out.jsonl")).unwrap();
        let read = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            for name in ["seconds", "first_token_s"] {
                assert!(line.as_object_mut().unwrap().remove(name).unwrap().is_number());
            }
            line
        };
        text.lines().map(read).collect()
    };
    let first = timeless();
    assert_eq!(first.len(), 7);
    for (index, line) in first.iter().enumerate() {
        assert_eq!(line["index"], index);
    }
    let alone = answer(&scene, &["--instruction", "Repeat 4.", "--input", "xxxx"]);
    assert_eq!(format!("{}\n", first[4]["answer"].as_str().unwrap()), alone, "in a batch as alone");
    assert_eq!(
        format!("{}\n", first[3]["answer"].as_str().unwrap()),
        answer(&scene, &["--prompt", "as it is"])
    );
    assert!(
        first[5]["error"].as_str().unwrap().starts_with("the prompt has") && first[5]["answer"].is_null()
    );

    // The power went while the fifth line was written.
    let text = fs::read_to_string(scene.path("out.jsonl")).unwrap();
    let fourth_end = text.match_indices('\n').nth(3).unwrap().0;
    scene.write("out.jsonl", &text[..fourth_end + 20]);
    let done = run(&mut generate(&scene, &args)).ok();
    assert!(done.stderr.contains("4 of 7 answers"), "{}", done.stderr);
    assert_eq!(timeless(), first);

    scene.write("in.jsonl", lines(&prompts[1..]));
    run(&mut generate(&scene, &args)).refused(2, &["line 1 of `out.jsonl` is not the answer to prompt 0"]);
    scene.write("in.jsonl", "{\"instruction\": \"a\"}\n{\"nothing\": 1}\n");
    run(&mut generate(&scene, &args)).refused(2, &["line 2", "expected `instruction`"]);
}

/// Equal prompts get answers of their own, decided by the seed and the place, whatever is answered beside them; a text that is
/// continued keeps the space before its first word; the tokens that are shown are those of the texts.
#[test]
fn equal_prompts_of_a_file_are_continued_by_draws_of_their_own() {
    let scene = Scene::new();
    let path = scene.path("model/tokenizer.json");
    let mut tokenizer: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let decoders = tokenizer["decoder"]["decoders"].as_array_mut().unwrap();
    decoders.push(json!({"type": "Strip", "content": " ", "start": 1, "stop": 0}));
    fs::write(&path, tokenizer.to_string()).unwrap();
    scene.write("in.jsonl", "{\"prompt\": \"a\"}\n".repeat(300));
    let drawn =
        ["--temperature", "3", "--top_k", "0", "--top_p", "1", "--max_new_tokens", "3", "--show_tokens"];
    let answers = |out: &str, batch_size: &str| -> Vec<Value> {
        let file = ["--file", "in.jsonl", "--out", out, "--batch_size", batch_size];
        run(&mut generate(&scene, &[&file[..], &drawn].concat())).ok();
        let text = fs::read_to_string(scene.path(out)).unwrap();
        let read = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            json!({"answer": line["answer"], "tokens": line["tokens"]})
        };
        text.lines().map(read).collect()
    };
    let first = answers("out.jsonl", "16");
    assert_eq!(answers("again.jsonl", "7"), first);
    let joined = |tokens: &Value| -> String {
        let pieces = tokens.as_array().unwrap().iter().map(|token| token["piece"].as_str().unwrap());
        pieces.collect::<String>().replace('\u{2581}', " ")
    };
    for line in &first {
        let special = |text: &String| ["<unk>", "<s>"].iter().any(|special| text.contains(special));
        let shown = Some(joined(&line["tokens"]["answer"])).filter(|text| !special(text));
        if let Some(shown) = shown {
            assert_eq!(line["answer"], shown);
        }
        assert_eq!(joined(&line["tokens"]["prompt"]), "<s>a");
    }
    let texts: Vec<&str> = first.iter().map(|line| line["answer"].as_str().unwrap()).collect();
    assert!(texts.iter().any(|text| text.starts_with(' ')), "none begins with a space");
    let different: std::collections::BTreeSet<&&str> = texts.iter().collect();
    assert!(different.len() > 250, "{} different answers of 300", different.len());

    let alone = answer(&scene, &[&["--prompt", "a"][..], &drawn].concat());
    let shown: Vec<String> = first[0]["tokens"]["answer"]
        .as_array()
        .unwrap()
        .iter()
        .map(|token| format!("{:>8} {:?}\n", token["id"].as_i64().unwrap(), token["piece"].as_str().unwrap()))
        .collect();
    let prompt = "prompt: 2 tokens\n       1 \"<s>\"\n      69 \"a\"\n";
    assert_eq!(alone, format!("{}\n{prompt}answer: 3 tokens\n{}", texts[0], shown.concat()));
    run(&mut generate(&scene, &["--show_tokens"])).refused(2, &["show_tokens is for --prompt"]);
}

#[test]
fn a_column_of_a_prompt_that_would_be_lost_is_refused() {
    let scene = Scene::new();
    scene.write("in.jsonl", "{\"prompt\": \"a\"}\n\n{\"instruction\": \"b\", \"system\": \"Be brief.\"}\n");
    let args = ["--file", "in.jsonl", "--out", "out.jsonl"];
    let parts = ["record 1 (line 3) fills the column `system`", "--ignore_columns"];
    run(&mut generate(&scene, &args)).refused(2, &parts);
    run(&mut generate(&scene, &[&args[..], &["--ignore_columns", "history"]].concat())).refused(2, &parts);
    run(&mut generate(&scene, &[&args[..], &["--ignore_columns", "system"]].concat())).ok();
    assert_eq!(fs::read_to_string(scene.path("out.jsonl")).unwrap().lines().count(), 2);
}

#[test]
fn interactive_instructions_are_answered_in_order() {
    let scene = Scene::new();
    let mut child = generate(&scene, &["--interactive"]).stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"Repeat sun.\n\n\nTwo\nlines.\n\nNo empty line").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let expected: String = ["Repeat sun.", "Two\nlines.", "No empty line"]
        .iter()
        .map(|instruction| answer(&scene, &["--instruction", instruction]) + "\n")
        .collect();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}

#[test]
fn a_models_own_text_has_a_lower_perplexity() {
    let scene = Scene::new();
    let of = |name: &str, text: &str| -> f64 {
        scene.write(name, text);
        let said = answer(&scene, &["--perplexity", name]);
        said.split(' ').nth(1).unwrap().parse().unwrap()
    };
    let own = answer(&scene, &["--prompt", "sun", "--max_new_tokens", "200"]);
    let (own, other) = (of("own.txt", &format!("sun{own}")), of("other.txt", &"zq!K;w7 }~".repeat(40)));
    assert!(own > 1.0 && own < other, "{own} {other}");
    let records = answer(&scene, &["--perplexity", "data.json"]);
    assert!(records.contains("the answers of 24 records"), "{records}");
}

#[test]
fn the_server_gives_the_same_answer_and_stops_on_interrupt() {
    let scene = Scene::new();
    let args = ["--server_port", "0", "--compare", "again=model"];
    let mut child = generate(&scene, &args).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap()).lines();
    let address = stderr
        .find_map(|line| {
            Some(line.unwrap().split_once("listening on http://")?.1.split(' ').next()?.to_owned())
        })
        .unwrap();
    let text = answer(&scene, &["--instruction", "Repeat sun."]);
    for source in ["model", "again"] {
        let body = json!({ "source": source, "instruction": "Repeat sun.", "temperature": 0, "max_new_tokens": 12, "stream": false });
        let body = body.to_string();
        let mut stream = TcpStream::connect(&address).unwrap();
        write!(
            stream,
            "POST /api/generate HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let said = json!({ "text": text.strip_suffix('\n').unwrap() }).to_string();
        let said = said.trim_start_matches('{').trim_end_matches('}');
        assert!(response.contains(said), "{said} is not in {response}");
    }
    let pid = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
