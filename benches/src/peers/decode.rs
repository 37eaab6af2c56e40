//! `cargo xtask bench decode`: tokens a second beside Python's transformers, and beside what memory allows.

use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bars::{Bar, report_bars};
use super::decoding::{DecodeArgs, Model, STORIES, Setting, chosen};
use super::llama_cpp::LlamaCpp;
use super::side_by_side::interleaved;
use super::stats::Pairs;
use super::workbench::Workbench;
use xtask::measure::{cpu_name, median};
use xtask::output::{note, say};
use xtask::python;
use xtask::workspace::Workspace;

/// Tokens over which memory must not grow, and by how much it may move, in KiB: the allocator keeps some of what is freed.
const STEADY_TOKENS: usize = 10_000;
const STEADY_KIB: u64 = 2048;

pub(crate) fn run(workspace: &Workspace, args: &DecodeArgs) -> Result<()> {
    if args.rounds == 0 || args.new_tokens < 8 {
        bail!("rounds has to be at least 1 and new_tokens at least 8");
    }
    let models = chosen(&args.only)?;
    let llama_cpp = args.llama_cpp.as_deref().map(|python| LlamaCpp::find(workspace, python)).transpose()?;
    if llama_cpp.is_none() {
        python::check(&args.python, &["torch", "transformers"])?;
    }
    let setting = Setting { bench: Workbench::new(workspace, args.threads)?, args };
    let (mut bars, mut measured) = (Vec::new(), Vec::new());
    for model in &models {
        let Some(path) = setting.weights(model)? else {
            note(&format!("\n[{}] skipped: `{STORIES}` is not at hand", model.name));
            continue;
        };
        if let Some(llama_cpp) = &llama_cpp {
            measured.push(llama_cpp.compare(&setting, model, &path, &mut bars)?);
            continue;
        }
        for dtype in ["float32", "bfloat16"] {
            note(&format!("\n[{} {dtype}]", model.name));
            measured.push(setting.compare(model, &path, dtype, &mut bars)?);
        }
        if let Some(least) = model.nf4 {
            note(&format!("\n[{} nf4]", model.name));
            measured.push(setting.compare_nf4(model, &path, least, &mut bars)?);
        }
        if model.name == "smollm2-135m" {
            setting.steady(&path, &mut bars)?;
        }
    }
    let machine = json!({ "cpu": cpu_name(), "threads": setting.bench.threads });
    let mut report = json!({ "machine": machine, "models": measured });
    let mut file = "decode.json";
    if let Some(llama_cpp) = &llama_cpp {
        (report["llama_cpp"], file) = (json!(llama_cpp.system), "decode-llama_cpp.json");
    }
    report_bars(&setting.bench.out.join(file), &report, &bars)
}

impl Setting<'_> {
    fn compare(&self, model: &Model<'_>, dir: &Path, dtype: &str, bars: &mut Vec<Bar>) -> Result<Value> {
        let tokens = self.new_tokens(model);
        let rust = || {
            let mut command = self.bench.program("bench-decode");
            self.ask(command.args(["--read_mib", "512"]), dir, dtype, tokens)
        };
        let python = || self.ask(&mut self.bench.script(&self.args.python, "decode.py"), dir, dtype, tokens);
        let (mut steps, mut firsts) = (Pairs::default(), Pairs::default());
        let sides = interleaved(self.args.rounds, rust, python, |_, rust, python| {
            steps.push(median(&rust.token_s), median(&python.token_s));
            firsts.push(median(&rust.first_token_s), median(&python.first_token_s));
        })?;
        let (step, first) = (steps.compare(), firsts.compare());
        let (ours, theirs) = sides.last().context("no round")?;
        let same = ours.ids.iter().zip(&theirs.ids).take_while(|(a, b)| a == b).count();
        let bandwidth: Vec<f64> = sides.iter().filter_map(|(rust, _)| rust.read_gb_per_s).collect();
        let bandwidth = median(&bandwidth);
        let bytes = ours.weight_bytes.context("`bench-decode` gives weight_bytes")? as f64;
        let of_bound = bytes / 1e9 / step.rust_s / bandwidth;
        say(&format!(
            "{:.1} tokens/s, transformers {:.1}: ratio {:.2} (single rounds {:.2} to {:.2})",
            1.0 / step.rust_s,
            1.0 / step.python_s,
            step.ratio,
            step.lowest_ratio,
            step.highest_ratio
        ));
        say(&format!(
            "  {:.1} GB/s of {bandwidth:.1} GB/s that memory gives: {:.0} %",
            bytes / 1e9 / step.rust_s,
            of_bound * 100.0
        ));
        say(&format!("  first token: {first}"));
        say(&format!(
            "  peak memory {} MiB, transformers {} MiB; {same} of {} tokens the same",
            ours.peak_host_mib,
            theirs.peak_host_mib,
            ours.ids.len()
        ));
        if let Some(least) = model.ratio {
            let what =
                format!("{} {dtype}: at least {least} times transformers: {:.2}", model.name, step.ratio);
            bars.push(Bar { what, met: step.ratio >= least });
        }
        if let (Some(least), "bfloat16") = (model.of_bound, dtype) {
            let what =
                format!("{} {dtype}: at least {least} of the bound of memory: {of_bound:.2}", model.name);
            bars.push(Bar { what, met: of_bound >= least });
        }
        Ok(json!({
            "model": model.name, "dtype": dtype, "token": step, "first_token": first, "rounds": steps,
            "weight_bytes": bytes, "read_gb_per_s": bandwidth, "of_bound": of_bound, "same_tokens": same,
            "peak_host_mib": { "rust": ours.peak_host_mib, "python": theirs.peak_host_mib },
        }))
    }

    /// Compares NF4 with bfloat16, both ours.
    fn compare_nf4(&self, model: &Model<'_>, dir: &Path, least: f64, bars: &mut Vec<Bar>) -> Result<Value> {
        let tokens = self.new_tokens(model);
        let side = |quantize: &str| {
            let mut command = self.bench.program("bench-decode");
            self.ask(command.args(["--read_mib", "512", "--quantize", quantize]), dir, "bfloat16", tokens)
        };
        let mut steps = Pairs::default();
        let sides = interleaved(
            self.args.rounds,
            || side("nf4"),
            || side("none"),
            |_, nf4, plain| {
                steps.push(median(&nf4.token_s), median(&plain.token_s));
            },
        )?;
        let step = steps.compare();
        let (nf4, plain) = sides.last().context("no round")?;
        let bytes = nf4.weight_bytes.context("`bench-decode` gives weight_bytes")? as f64;
        say(&format!(
            "{:.1} tokens/s, bfloat16 {:.1}: ratio {:.2}; {:.1} GB/s; peak memory {} MiB, bfloat16 {} MiB",
            1.0 / step.rust_s,
            1.0 / step.python_s,
            step.ratio,
            bytes / 1e9 / step.rust_s,
            nf4.peak_host_mib,
            plain.peak_host_mib
        ));
        let what = format!("{} nf4: at least {least} times bfloat16: {:.2}", model.name, step.ratio);
        bars.push(Bar { what, met: step.ratio >= least });
        Ok(json!({ "model": model.name, "dtype": "nf4", "bfloat16_is_python": step, "weight_bytes": bytes }))
    }

    /// Measures memory over many tokens, in three sessions: what the later ones take must be what the first left.
    fn steady(&self, dir: &Path, bars: &mut Vec<Bar>) -> Result<()> {
        let mut command = self.bench.program("bench-decode");
        let decoded = self.ask(&mut command, dir, "bfloat16", STEADY_TOKENS.div_ceil(3))?;
        let [early, late] = decoded.private_kib.context("`bench-decode` gives private_kib")?;
        let grown = late.saturating_sub(early);
        let what =
            format!("private memory over {STEADY_TOKENS} tokens grows by under {STEADY_KIB} KiB: {grown}");
        bars.push(Bar { what, met: grown < STEADY_KIB });
        Ok(())
    }
}
