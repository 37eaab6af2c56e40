//! A small model, small data, and the real `finetune` over them.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::CommandFactory;
use llama_model::{LlamaConfig, RandomSource};
use nn_core::{Dtype, LinearSource};
use serde_json::{Value, json};
use tch::{Device, Kind, Tensor};

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The shared data beside the workspace. Where it is absent, `test` is skipped, and says so.
pub(crate) fn shared_data(test: &str) -> Option<PathBuf> {
    let dir = workspace().join("../shared/data");
    if !dir.is_dir() {
        eprintln!("skipped: {test} needs {}", dir.display());
    }
    dir.is_dir().then_some(dir)
}

/// Looks until `is` holds. False when `child` ends first.
pub(crate) fn until(child: &mut Child, mut is: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited a minute in vain");
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        // Short beside a step, and long enough to leave the core to the child.
        std::thread::sleep(Duration::from_micros(100));
    }
    true
}

/// A directory with a model (`model/`) and records (`data.json`).
pub(crate) struct Scene {
    dir: tempfile::TempDir,
}

/// Records in `data.json`.
pub(crate) const RECORDS: usize = 24;

impl Scene {
    pub(crate) fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        write_model(&scene.path("model"));
        scene.write("data.json", records(RECORDS).to_string());
        scene
    }

    /// A path in the scene.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        fs::write(self.path(name), content).unwrap();
        self.path(name)
    }

    /// `finetune` with nothing but `args`, in the scene's directory.
    pub(crate) fn bare(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_finetune"));
        command.args(args).current_dir(self.dir.path()).env("OMP_NUM_THREADS", "1").env_remove("RUST_LOG");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// A short run into `output_dir`: 20 steps of two micro-batches, dropout, validation, a checkpoint every 2 steps.
    /// Flags in `args` that it names itself take the place of its own.
    pub(crate) fn finetune(&self, output_dir: &str, args: &[&str]) -> Command {
        let own = [
            ("--base_model", "model"),
            ("--data_path", "data.json"),
            ("--output_dir", output_dir),
            ("--batch_size", "4"),
            ("--micro_batch_size", "2"),
            ("--num_epochs", "4"),
            ("--val_set_size", "4"),
            ("--cutoff_len", "96"),
            ("--prompt_template_name", "alpaca_short"),
            ("--learning_rate", "0.01"),
            ("--lora_dropout", "0.05"),
            ("--warmup_steps", "2"),
            ("--logging_steps", "1"),
            ("--eval_steps", "3"),
            ("--save_steps", "2"),
            ("--threads", "1"),
            ("--device", "cpu"),
        ];
        let own =
            own.iter().filter(|(flag, _)| !args.contains(flag)).flat_map(|&(flag, value)| [flag, value]);
        self.bare(&own.chain(args.iter().copied()).collect::<Vec<_>>())
    }
}

/// The exit code and the output of a program.
#[derive(Debug)]
pub(crate) struct Done {
    /// The program's name.
    pub(crate) program: String,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Done {
    /// Checks that all went well.
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}", self.stderr);
        self
    }

    /// Checks for a failure with this exit code, told in one line of stderr that begins with `error: `, names all of
    /// `parts`, and no flag that the program does not have.
    pub(crate) fn refused(self, code: i32, parts: &[&str]) -> Self {
        assert_eq!(self.code, Some(code), "{}", self.stderr);
        let errors: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "{}", self.stderr);
        assert_eq!(
            self.stderr.lines().last(),
            Some(errors[0]),
            "the error is the last line:\n{}",
            self.stderr
        );
        for part in parts {
            assert!(errors[0].contains(part), "`{part}` is not in: {}", errors[0]);
        }
        let strange = strange_flags(&self.program, errors[0]);
        assert!(strange.is_empty(), "{} has no {strange:?}: {}", self.program, errors[0]);
        assert!(!self.stderr.contains("panicked") && !self.stderr.contains("backtrace"), "{}", self.stderr);
        self
    }
}

/// The flags that a message advises to use and `program` does not have. Commands of others stand between backticks.
fn strange_flags(program: &str, message: &str) -> Vec<String> {
    let command = match program {
        "compare" => cli::compare::CompareArgs::command(),
        "evaluate" => cli::evaluate::EvaluateArgs::command(),
        "finetune" => cli::finetune::FinetuneArgs::command(),
        "generate" => cli::generate::GenerateArgs::command(),
        "merge" => cli::merge::MergeArgs::command(),
        "pretrain" => cli::pretrain::PretrainArgs::command(),
        "runs" => cli::runs::RunsArgs::command(),
        "unmerge" => cli::unmerge::UnmergeArgs::command(),
        _ => return Vec::new(),
    };
    let known: Vec<&str> = command.get_arguments().filter_map(|arg| arg.get_long()).collect();
    let unquoted: String = message.split('`').step_by(2).collect();
    let flags = unquoted.split("--").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_ascii_lowercase() && c != '_' && !c.is_ascii_digit())
            .next()
            .unwrap()
            .to_owned()
    });
    flags.filter(|flag| !flag.is_empty() && !known.contains(&flag.as_str())).collect()
}

pub(crate) fn run(command: &mut Command) -> Done {
    let program = Path::new(command.get_program()).file_name().unwrap().to_str().unwrap().to_owned();
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { program, code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The bytes of the adapter in `dir`.
pub(crate) fn adapter(dir: &Path) -> Vec<u8> {
    fs::read(dir.join("adapter_model.safetensors")).unwrap()
}

/// The lines of metrics without what a clock or the memory says.
pub(crate) fn metrics(dir: &Path) -> Vec<Value> {
    let text = fs::read_to_string(dir.join("metrics.jsonl")).unwrap();
    let timeless = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for name in ["tokens_per_s", "elapsed_s", "eval_s", "memory_mib"] {
            line.as_object_mut().unwrap().remove(name);
        }
        line
    };
    text.lines().map(timeless).collect()
}

/// Every name in `dir`, sorted.
pub(crate) fn names(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Records with an answer that follows from the input.
pub(crate) fn records(count: usize) -> Value {
    const WORDS: [&str; 6] = ["sun", "moon", "river", "stone", "apple", "wolf"];
    let record = |index: usize| {
        let (word, other) = (WORDS[index % 6], WORDS[(index / 6 + index) % 6]);
        json!({"instruction": format!("Repeat {word}."), "input": other, "output": format!("{word} {other} {word}")})
    };
    (0..count).map(record).collect()
}

/// The shape of the model: 2 layers, 32 wide, one token for each printable character.
pub(crate) fn model_config() -> LlamaConfig {
    LlamaConfig { max_position_embeddings: 256, ..LlamaConfig::new(104, 32, 64, 2, 4) }
}

/// Writes a model of random weights and its tokenizer.
pub(crate) fn write_model(dir: &Path) {
    write_model_of(dir, &model_config(), Kind::Float);
}

/// Writes a model as [`write_model`] does, of another shape and precision.
pub(crate) fn write_model_of(dir: &Path, config: &LlamaConfig, kind: Kind) {
    fs::create_dir_all(dir).unwrap();
    let dtype = Dtype::name_of(kind).to_owned();
    let config = LlamaConfig { torch_dtype: Some(dtype), ..config.clone() };
    let source = RandomSource { seed: 7, std: 0.1, device: Device::Cpu, kind };
    let tensors: Vec<(String, Tensor)> = config
        .tensor_shapes()
        .into_iter()
        .map(|(name, shape)| {
            // Where fresh weights are all equal, there would be nothing to see.
            let tensor = if name.rsplit('.').next() == Some("bias") || name.ends_with("_norm.weight") {
                source.tensor(&format!("{name}.numbers"), &shape).unwrap() * 3.0 + 0.5
            } else {
                source.tensor(&name, &shape).unwrap()
            };
            (name, tensor)
        })
        .collect();
    let named: Vec<_> = tensors.iter().map(|(name, tensor)| (name.clone(), tensor)).collect();
    weights::write_safetensors(&dir.join("model.safetensors"), &named, &weights::pt_metadata()).unwrap();
    fs::write(dir.join("config.json"), config.to_json()).unwrap();
    fs::write(dir.join("tokenizer.json"), tokenizer().to_string()).unwrap();
}

fn tokenizer() -> Value {
    let special = ["<unk>", "<s>", "</s>"];
    let added: Vec<Value> = (0..)
        .zip(special)
        .map(|(id, content): (usize, _)| {
            json!({"id": id, "content": content, "special": true, "single_word": false, "lstrip": false,
                "rstrip": false, "normalized": false})
        })
        .collect();
    let tokens = special.map(str::to_owned).into_iter().chain(['\n'.to_string()]);
    let tokens =
        tokens.chain(['\u{2581}'.to_string()]).chain(('!'..='~').map(|character| character.to_string()));
    let vocab: serde_json::Map<String, Value> =
        tokens.enumerate().map(|(id, token)| (token, id.into())).collect();
    json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added,
        "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
        "pre_tokenizer": null, "post_processor": {
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}
        },
        "decoder": {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "}, {"type": "Fuse"}
        ]},
        "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": true, "byte_fallback": false, "vocab": vocab, "merges": []}
    })
}
