//! The program `unmerge`.

use anyhow::Result;
use checkpoint::Base;
use llama_finetune::{ExtractedAdapter, set_threads};
use terminal::print;
use weights::AtomicDir;

use super::args::UnmergeArgs;
use super::report;
use crate::exit::usage;

/// Runs the program.
///
/// # Errors
/// With what the user can do about it.
pub fn run(args: UnmergeArgs) -> Result<()> {
    let UnmergeArgs { base_model, merged_model, output_dir, lora_r, lora_alpha, threads, unknown_settings } =
        args;
    let need = |name: &str, value: Option<String>| {
        value
            .filter(|value| !value.trim().is_empty())
            .ok_or_else(|| usage(format!("{name} is missing: give --{name} MODEL")))
    };
    let (base_name, merged_name) = (need("base_model", base_model)?, need("merged_model", merged_model)?);
    let output_dir = output_dir.ok_or_else(|| usage("output_dir is missing: give --output_dir DIR"))?;
    if output_dir.exists() {
        return Err(usage(format!("output_dir `{}` exists already", output_dir.display())));
    }
    set_threads(threads)?;
    let open = |name: &str| Base::open_with(name, unknown_settings.stance());
    let (base, merged) = (open(&base_name)?, open(&merged_name)?);
    let adapter = ExtractedAdapter::between(&base, &merged, lora_r, lora_alpha)?;
    for name in &adapter.changed_elsewhere {
        tracing::warn!("`{name}` differs too, which no adapter of linear layers can hold");
    }
    let dir = AtomicDir::create(&output_dir)?;
    adapter.save(dir.path())?;
    dir.commit()?;
    print(&report::table(&adapter.layers));
    print(&format!("{}\n", output_dir.display()));
    Ok(())
}
