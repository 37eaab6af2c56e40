//! Faults are called by their names, and gaps do no harm.

use serde_json::json;

use super::made::Made;
use super::synthetic::{MergeFaults, QloraFaults, lora_vs_qlora, merge_compare};
use crate::lang::Lang;

fn merge(faults: MergeFaults) -> Made {
    Made::new(merge_compare(faults))
}

fn qlora(faults: QloraFaults) -> Made {
    Made::new(lora_vs_qlora(faults))
}

#[test]
fn a_correct_run_reports_no_fault() {
    let text = merge(MergeFaults::default()).text(Lang::En);
    assert!(
        text.contains("**Equal to base + adapter:** merged state dict and merged, Hugging Face."),
        "{text}"
    );
    assert!(text.contains("**The lab's script merges nothing:**"));
    assert!(!text.contains("is a wrong merge") && !text.contains("does not hold"));
    let text = qlora(QloraFaults::default()).text(Lang::En);
    assert!(!text.contains("This does not hold") && !text.contains("**does not hold**"));
}

#[test]
fn planted_merges_are_caught_and_told_apart() {
    let made = merge(MergeFaults { planted: true, ..MergeFaults::default() });
    let text = made.text(Lang::En);
    let line = |start: &str| {
        text.lines().find(|line| line.contains(start)).unwrap_or_else(|| panic!("{start}: {text}"))
    };
    assert!(
        line("**Planted: scale 1.5 (wrong on purpose) is caught:**").contains("look at the scale, α / r")
    );
    assert!(line("**Planted: rows unpermuted (wrong on purpose)").contains("weights were damaged"));
    assert!(line("**Planted: half the layers (wrong on purpose)").contains("tensors were left out"));
    let text = made.text(Lang::Zh);
    assert!(text.contains("**“植入错误：缩放 1.5”是故意制造的错误合并，已被检出：**"), "{text}");
}

#[test]
fn an_unplanted_fault_is_called_wrong() {
    let text = merge(MergeFaults { wrong_state_dict: true, ..MergeFaults::default() }).text(Lang::En);
    assert!(text.contains("**Merged state dict is a wrong merge; do not use it:**"), "{text}");
    assert!(text.contains("| **does not hold** |"));
    assert!(text.contains("**1 of 4 known truths do not hold**"));
}

#[test]
fn a_slightly_wrong_scale_is_no_rounding() {
    // As near as a scale that is wrong by a hundredth: every token equal, and yet more than float32 explains.
    let made = merge(MergeFaults::default()).with("hf", "mean_kl", 3e-5).with("hf", "max_logit_diff", 0.02);
    assert!(made.text(Lang::En).contains("**Merged, Hugging Face is a wrong merge"));
}

#[test]
fn an_undetected_planted_fault_is_reported() {
    let text = merge(MergeFaults { unseen: true, ..MergeFaults::default() }).text(Lang::En);
    assert!(text.contains("**Planted: unseen is wrong on purpose and was NOT caught.**"), "{text}");
}

#[test]
fn a_quantised_base_of_the_wrong_scale_is_called_out() {
    let text = qlora(QloraFaults { wrong_scale: true, ..QloraFaults::default() }).text(Lang::En);
    let line = text.lines().find(|line| line.contains("**This does not hold, and should:**")).unwrap();
    assert!(line.contains("QLoRA, NF4: validation loss at most 25.0\u{a0}% above LoRA's"), "{line}");
    let against =
        |label: &str| text.lines().find(|line| line.contains(&format!("{label} against LoRA,"))).unwrap();
    assert!(against("QLoRA, NF4").contains("**worse** in validation loss"), "{text}");
    assert!(against("8 bits").contains("**no difference beyond noise** in validation loss"), "{text}");
}

#[test]
fn a_saving_within_the_noise_of_the_peak_does_not_arrive() {
    let noise = |_: &serde_json::Value, index: usize| Some(400.0 + [3.0, -9.0, 0.5, -4.0, 12.0][index % 5]);
    let text = qlora(QloraFaults::default()).edit("", "peak_host_mib", noise).text(Lang::En);
    assert!(text.contains("does not show the saving beyond noise"), "{text}");
    assert!(!text.contains("the saving arrives"), "{text}");
}

#[test]
fn a_speed_that_files_explain_is_no_gain_of_the_merge() {
    // The base does a merged model's work at 118 tokens per second, out of the files that the adapter's 104 come from.
    let fast = |_: &serde_json::Value, index: usize| Some(170.0 + [3.0, -3.0, 1.0, -1.0, 0.0][index % 5]);
    let text = merge(MergeFaults::default()).edit("hf", "decode_tokens_per_s", fast).text(Lang::En);
    let line = text.lines().find(|line| line.contains("Merged, Hugging Face decodes")).unwrap();
    assert!(line.contains("**part of this is its files', not the merge's**"), "{line}");
    assert!(!text.contains("**Merged, Hugging Face decodes faster"), "{text}");
    assert!(text.contains("**Merging saves the adapter's work**"), "{text}");
    assert!(text.contains("**Merged state dict decodes faster than base + adapter**"), "{text}");
}

#[test]
fn failed_cells_are_listed_with_their_errors() {
    let text = merge(MergeFaults { failures: true, ..MergeFaults::default() }).text(Lang::En);
    assert!(text.contains("6 of 30 runs failed."));
    assert!(
        text.contains(
            "| `hf/4` | merged, Hugging Face | error: `generate` ended with exit code 1: cannot read"
        ),
        "{text}"
    );
    let text = qlora(QloraFaults { failures: true, ..QloraFaults::default() }).text(Lang::Zh);
    assert!(text.contains("| `int8/64/2` | int8 量化 | killed: out of memory |"), "{text}");
}

#[test]
fn no_missing_number_breaks_a_report() {
    for made in [
        merge(MergeFaults { planted: true, ..MergeFaults::default() }),
        qlora(QloraFaults { failures: true, ..QloraFaults::default() }),
    ] {
        let metrics = made.cells[0]["metrics"].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        for metric in &metrics {
            assert!(made.clone().without("", metric).text(Lang::En).len() > 4000, "{metric}");
        }
        let mut bare = metrics.iter().fold(made.clone(), |made, metric| made.without("", metric));
        for cell in &mut bare.cells {
            (cell["series"], cell["texts"], cell["samples"]) = (json!({}), json!([]), json!({}));
        }
        let text = bare.text(Lang::Zh);
        assert!(!text.contains("NaN") && !text.contains("inf)"), "{text}");
        // A file that an early version wrote: names only.
        bare.experiment = json!({"experiment": bare.experiment["experiment"]});
        assert!(bare.text(Lang::En).len() > 3000);
    }
}

#[test]
fn null_numbers_are_left_out() {
    let mut made = merge(MergeFaults::default());
    made.cells[2]["metrics"]["perplexity"] = json!(null);
    made.cells[2]["samples"]["logit_diff"] = json!([0.0, null, 1e-7]);
    assert!(!made.text(Lang::En).contains("NaN"));
}
