//! Counts of what a step and a token ask of the device, held to the table of `docs/gpu.md`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result, ensure};
use xtask::output::note;
use xtask::workspace::Workspace;

use crate::report::Report;
use crate::scene::{Machine, Scene};

const PAGE: &str = "docs/gpu.md";
const BEGIN: &str = "<!-- counts: written by `cargo xtask fake-cuda --write-counts` -->";
const END: &str = "<!-- end of the counts -->";

/// Columns of the table: title, and the beginnings of the names that are added up.
const COLUMNS: [(&str, &[&str]); 7] = [
    ("operations", &["operation: "]),
    ("our kernels", &["kernel: "]),
    ("graphs", &["replay"]),
    ("copies on the device", &["copy: device to device"]),
    ("to the device", &["copy: host to device"]),
    ("to the host", &["copy: device to host"]),
    ("waits", &["wait: "]),
];

/// A command whose counts are taken: those of a longer run less those of a shorter one, for each unit more.
struct Work {
    name: &'static str,
    unit: &'static str,
    program: &'static str,
    args: &'static str,
    /// The flag of the length, two lengths, and the units of one step of it.
    flag: &'static str,
    lengths: [u32; 2],
    units: u32,
    machine: Machine,
    /// Runs kernels that take minutes in the emulator, where each is checked before its first use: with `--long` only.
    long: bool,
}

const FINETUNE: Work = Work {
    name: "",
    unit: "micro-batch of 4 records",
    program: "finetune",
    args: "",
    flag: "--max_steps",
    lengths: [2, 6],
    units: 2,
    machine: Machine::Gpus(1),
    long: false,
};
const GENERATE: Work = Work {
    name: "",
    unit: "token",
    program: "generate",
    args: "",
    flag: "--max_new_tokens",
    lengths: [8, 12],
    units: 1,
    machine: Machine::Gpus(1),
    long: false,
};
const RECORDS: &str = "--base_model {base} --data_path {data} --output_dir counted --overwrite_output_dir --batch_size 8 \
    --micro_batch_size 4 --val_set_size 0 --save_steps 1000 --logging_steps 1 --warmup_steps 1 --threads 1";
const PROMPT: &str = "--base_model {base} --prompt {prompt} --threads 1";

const LORA: Work = Work {
    lengths: [2, 4],
    name: "LoRA on q and v, bfloat16",
    args: "--dtype bfloat16",
    machine: Machine::Kernels,
    ..FINETUNE
};
/// Layers of the embedded model, and the most launches for each in a micro-batch of [`LORA`], forward and backward: 57 of its own, and a
/// quarter of those of the embedding, the head and the update.
const LAYERS: f64 = 4.0;
const MOST_LAUNCHES: f64 = 75.0;

const WORKS: [Work; 10] = [
    LORA,
    Work { name: "LoRA on q and v, bfloat16, without our kernels", machine: Machine::Gpus(1), ..LORA },
    Work {
        name: "LoRA on all linear layers, bfloat16",
        args: "--dtype bfloat16 --lora_target_modules all-linear",
        long: true,
        ..LORA
    },
    Work {
        name: "LoRA on all linear layers, bfloat16, without our kernels",
        args: "--dtype bfloat16 --lora_target_modules all-linear",
        ..FINETUNE
    },
    Work {
        name: "QLoRA, bfloat16, without our kernels",
        args: "--dtype bfloat16 --quantize nf4 --double_quant --gradient_checkpointing",
        ..FINETUNE
    },
    Work { name: "full, float32, paged optimiser", args: "--full --optim paged_adamw_8bit", ..FINETUNE },
    Work { name: "decoding, bfloat16", args: "--temperature 0 --dtype bfloat16", ..GENERATE },
    Work { name: "decoding, sampled, bfloat16", args: "--temperature 1 --dtype bfloat16", ..GENERATE },
    Work {
        name: "decoding, 4 bits, float16",
        args: "--temperature 0 --dtype float16 --load_4bit",
        ..GENERATE
    },
    Work {
        name: "decoding, 4 bits, bfloat16, our kernels",
        args: "--temperature 0 --dtype bfloat16 --load_4bit",
        machine: Machine::Kernels,
        long: true,
        ..GENERATE
    },
];

/// Counts all works and compares with the page, or writes it.
pub(crate) fn run_all(
    workspace: &Workspace,
    scene: &Scene,
    (long, write): (bool, bool),
    report: &mut Report,
) {
    let path = workspace.path(PAGE);
    let mut rows = Vec::new();
    let page = fs::read_to_string(&path).unwrap_or_default();
    for work in &WORKS {
        let has_kernels = work.machine != Machine::Kernels || scene.has_kernels();
        if !has_kernels || (work.long && !long) {
            if !has_kernels {
                note(&format!("skipped: the counts of {}, since there is no NVRTC", work.name));
            }
            // Its row stays as it is.
            rows.extend(
                page.lines().find(|line| line.starts_with(&format!("| {} |", work.name))).map(str::to_owned),
            );
            continue;
        }
        report.add(&format!("counts: {}", work.name), || {
            let each = each(scene, work)?;
            let [operations, kernels, _, copies, ..] = each;
            let of_a_layer = (operations + kernels + copies) / LAYERS;
            ensure!(
                work.name != LORA.name || of_a_layer <= MOST_LAUNCHES,
                "{of_a_layer} launches for each layer; expected at most {MOST_LAUNCHES}"
            );
            let row = row(work, each)?;
            ensure!(write || page.contains(&row), "{PAGE} has not this row (--write-counts):\n{row}");
            rows.push(row);
            Ok(())
        });
    }
    if write {
        report.add("the counts are written", || {
            let (before, rest) = page.split_once(BEGIN).with_context(|| format!("{PAGE} lacks `{BEGIN}`"))?;
            let (_, after) = rest.split_once(END).with_context(|| format!("{PAGE} lacks `{END}`"))?;
            fs::write(&path, format!("{before}{BEGIN}\n\n{}{}\n\n{END}{after}", head(), rows.join("\n")))?;
            Ok(())
        });
    }
}

fn head() -> String {
    let titles = COLUMNS.map(|(title, _)| title).join(" | ");
    format!("| work | for each | {titles} |\n|---|---|{}\n", "---:|".repeat(COLUMNS.len()))
}

fn row(work: &Work, each: [f64; 7]) -> Result<String> {
    let mut row = format!("| {} | {} |", work.name, work.unit);
    for each in each {
        write!(row, " {} |", (each * 10.0).round() / 10.0)?;
    }
    Ok(row)
}

/// Counts what is in [`COLUMNS`], for each unit of a work.
fn each(scene: &Scene, work: &Work) -> Result<[f64; 7]> {
    let [short, long] = work.lengths;
    let (less, more) = (count(scene, work, short)?, count(scene, work, long)?);
    let units = f64::from((long - short) * work.units);
    Ok(COLUMNS.map(|(_, beginnings)| {
        let sum = |counts: &BTreeMap<String, i64>| -> i64 {
            let counted =
                counts.iter().filter(|(name, _)| beginnings.iter().any(|text| name.starts_with(text)));
            counted.map(|(_, number)| number).sum()
        };
        (sum(&more) - sum(&less)) as f64 / units
    }))
}

/// Runs a work of this length, and reads what the device counted.
fn count(scene: &Scene, work: &Work, length: u32) -> Result<BTreeMap<String, i64>> {
    let common = if work.program == "finetune" { RECORDS } else { PROMPT };
    let args = format!("{common} --device cuda {} {} {length}", work.args, work.flag);
    let mut command = scene.program(work.program, &args, work.machine);
    let file = scene.path("counts");
    command.env("FAKE_CUDA_OPS", &file);
    scene.run(command)?.ok()?;
    let text = fs::read_to_string(file).context("the device counted nothing")?;
    let number = |line: &str| -> Result<(String, i64)> {
        let (number, name) = line.trim_start().split_once(' ').context("a count without a name")?;
        Ok((name.to_owned(), number.parse()?))
    };
    text.lines().map(number).collect()
}
