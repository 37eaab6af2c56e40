//! `run.toml`: the settings of a run.

use crate::Target;
use crate::files::directory;

pub(super) const TARGET: Target = Target {
    name: "run_toml",
    reads: "`run.toml`: the settings of `finetune --config`",
    limit_s: 4,
    seeds: || {
        let short = b"base_model = 'a'\nlora_r = 4\nlora_target_modules = 'all-linear'\nquantize = 'nf4'\nmax_steps = 3\n";
        let path = directory("run", &[("run.toml", short)]).join("run.toml");
        let whole = cli::finetune::run_file(&path).expect("a run file");
        vec![short.to_vec(), whole.into_bytes()]
    },
    run: |bytes| {
        let path = directory("run", &[("run.toml", bytes)]).join("run.toml");
        let settled = cli::finetune::run_file(&path)?;
        // What was decided is decided so again.
        let again = directory("run", &[("run.toml", settled.as_bytes())]).join("run.toml");
        assert_eq!(cli::finetune::run_file(&again)?, settled);
        Ok(())
    },
};
