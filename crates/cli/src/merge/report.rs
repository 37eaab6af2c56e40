//! A merge as a table.

use std::collections::BTreeMap;
use std::fmt::Write;

use ::merge::{Proof, TargetProof};
use llama_finetune::Verification;

/// Makes a table of the targets by the last part of their name, a line each.
pub(crate) fn table(proof: &Proof) -> String {
    let mut by_leaf: BTreeMap<&str, Vec<&TargetProof>> = BTreeMap::new();
    for target in &proof.targets {
        let path = target.name.trim_end_matches(".weight");
        by_leaf.entry(path.rsplit('.').next().unwrap_or(path)).or_default().push(target);
    }
    let mut text = String::new();
    if !by_leaf.is_empty() {
        let _ = writeln!(
            text,
            "{:<12} {:>6}  {:>22}  {:>10}  {:>18}",
            "target", "layers", "norm of delta", "of weight", "elements changed"
        );
    }
    for (leaf, targets) in by_leaf {
        let range = |of: &dyn Fn(&TargetProof) -> f64| {
            let values = targets.iter().map(|target| of(target));
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), x| (low.min(x), high.max(x)))
        };
        let (low, high) = range(&|target| target.delta_norm);
        let (_, relative) = range(&|target| target.delta_norm / target.base_norm);
        let (least, most) = range(&TargetProof::fraction_changed);
        let norms = format!("{low:.4} to {high:.4}");
        let changed = format!("{:.1} to {:.1} %", 100.0 * least, 100.0 * most);
        let _ = writeln!(
            text,
            "{leaf:<12} {:>6}  {norms:>22}  {:>8.2} %  {changed:>18}",
            targets.len(),
            100.0 * relative
        );
    }
    let _ = writeln!(
        text,
        "{} targets changed, {} other tensors are as they were",
        proof.targets.len(),
        proof.untouched
    );
    text
}

/// Returns a line for each prompt of a verification.
pub(crate) fn verification_table(verification: &Verification) -> String {
    let mut text = String::new();
    let _ = writeln!(text, "{} texts become the tokens that they are with the base", verification.texts);
    for note in &verification.notes {
        let _ = writeln!(text, "note: {note}");
    }
    let _ = writeln!(
        text,
        "{:<40} {:>14}  {:>10}  greedy tokens",
        format!("prompt (computed in {})", verification.computed_in),
        "largest logit",
        "KL, nats"
    );
    for prompt in &verification.prompts {
        let shown: String = prompt.prompt.lines().last().unwrap_or_default().chars().take(38).collect();
        let shown =
            if prompt.prompt.contains('\n') { "  the same, in the template".to_owned() } else { shown };
        let tokens = match prompt.first_diverging_token {
            None => format!("all {} equal", prompt.tokens),
            Some(first) => format!("{first} equal, then they part"),
        };
        let _ =
            writeln!(text, "{shown:<40} {:>14.3e}  {:>10.2e}  {tokens}", prompt.max_difference, prompt.kl);
    }
    text
}
