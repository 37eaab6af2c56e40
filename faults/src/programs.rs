//! Kills and failing calls of `merge` and of `generate --file`.

use std::fs;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::dice::Dice;
use crate::preload::CallFault;
use crate::report::Report;
use crate::scene::{Scene, names, run};

/// Lets a call of `merge` fail, `rounds` times. Laws: the merged model appears whole or not at all, and merging again
/// gives the bytes of an undisturbed merge and leaves nothing half-done.
pub(crate) fn merges(scene: &Scene, rounds: u64, seed: u64, report: &mut Report) -> Result<()> {
    let merge = |out: &str| {
        let mut command = scene.program("merge");
        command.arg("--base_model").arg(scene.base()).args(["--lora_weights", "whole", "--output_dir", out]);
        command
    };
    run(&mut merge("merged"))?.ok()?;
    let expected = fs::read(scene.path("merged/model.safetensors"))?;
    let mut dice = Dice::new(seed ^ 1);
    for _ in 0..rounds {
        let fault = CallFault::new(dice.below(1000) as usize, 1 + dice.below(12));
        let outcome = || {
            let mut command = merge("m/out");
            scene.preload.apply(&mut command, &fault);
            let ended = run(&mut command)?;
            ended.says_so()?;
            if scene.path("m/out").exists() {
                ensure!(
                    fs::read(scene.path("m/out/model.safetensors"))? == expected,
                    "half a model has its name"
                );
                ensure!(
                    scene.path("m/out/tokenizer.json").exists(),
                    "a model without its tokenizer has its name"
                );
                fs::remove_dir_all(scene.path("m/out"))?;
            } else {
                ensure!(ended.code != Some(0), "done, but nothing is there");
            }
            run(&mut merge("m/out"))?.ok()?;
            ensure!(fs::read(scene.path("m/out/model.safetensors"))? == expected, "another model");
            let left = names(&scene.path("m"))?;
            ensure!(ended.code.is_none() || left == ["out"], "half-done work is left: {left:?}");
            Ok(())
        };
        report.add("merge", &fault.kind(), outcome().with_context(|| format!("{fault:?}")));
        let _ = fs::remove_dir_all(scene.path("m"));
    }
    Ok(())
}

/// Lets a call of `generate --file` fail, `rounds` times. Law: started again, it ends in the answers of an undisturbed
/// run, one line for each prompt.
pub(crate) fn answers(scene: &Scene, rounds: u64, seed: u64, report: &mut Report) -> Result<()> {
    let prompt = |number| format!("{{\"instruction\": \"Où est Hugo, {number} ?\", \"input\": \"\"}}");
    fs::write(scene.path("prompts.jsonl"), (0..6).map(prompt).collect::<Vec<_>>().join("\n"))?;
    let generate = |out: &str| {
        let mut command = scene.program("generate");
        command.arg("--base_model").arg(scene.base()).args(["--file", "prompts.jsonl", "--out", out]);
        command.args("--max_new_tokens 8 --threads 1 --device cpu --batch_size 2".split(' '));
        command
    };
    run(&mut generate("answers.jsonl"))?.ok()?;
    let expected = lines(scene, "answers.jsonl")?;
    let mut dice = Dice::new(seed ^ 2);
    for _ in 0..rounds {
        let fault = CallFault::new(dice.below(7) as usize, 1 + dice.below(7));
        let outcome = || {
            let mut command = generate("again.jsonl");
            scene.preload.apply(&mut command, &fault);
            run(&mut command)?.says_so()?;
            run(&mut generate("again.jsonl"))?.ok()?;
            ensure!(lines(scene, "again.jsonl")? == expected, "other answers");
            Ok(())
        };
        report.add("generate --file", &fault.kind(), outcome().with_context(|| format!("{fault:?}")));
        let _ = fs::remove_file(scene.path("again.jsonl"));
    }
    Ok(())
}

/// The lines of an output without their times.
fn lines(scene: &Scene, name: &str) -> Result<Vec<Value>> {
    let text = fs::read_to_string(scene.path(name))?;
    let timeless = |line: &str| {
        let mut line: Value =
            serde_json::from_str(line).with_context(|| format!("a line of answers: {line}"))?;
        for name in ["first_token_s", "seconds"] {
            line.as_object_mut().map(|fields| fields.remove(name));
        }
        Ok(line)
    };
    text.lines().map(timeless).collect()
}
