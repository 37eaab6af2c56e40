//! Writes shell completions and manual pages of every program into a directory: `manuals DIR`, for `cargo xtask package`.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Command;
use clap_complete::{Shell, generate_to};
use cli::programs::{ALL_IN_ONE, PROGRAMS, all_in_one};

fn main() -> Result<()> {
    let dir = PathBuf::from(std::env::args_os().nth(1).context("usage: manuals DIR")?);
    let (completions, man) = (dir.join("completions"), dir.join("man/man1"));
    fs::create_dir_all(&completions)?;
    fs::create_dir_all(&man)?;
    let programs = PROGRAMS.iter().map(|program| (program.name, (program.command)("")));
    for (name, mut command) in std::iter::once((ALL_IN_ONE, all_in_one())).chain(programs) {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            generate_to(shell, &mut command, name, &completions)?;
        }
    }
    let pages = PROGRAMS.iter().map(|program| {
        // A page of its own name, as git's programs have, since others are called `merge` and `compare` too.
        (program.command)(&format!("{ALL_IN_ONE} ")).name(&*format!("{ALL_IN_ONE}-{}", program.name).leak())
    });
    for page in std::iter::once(all_in_one()).chain(pages) {
        write_page(&man, page)?;
    }
    Ok(())
}

fn write_page(dir: &Path, command: Command) -> Result<()> {
    let path = dir.join(format!("{}.1", command.get_name()));
    let mut text = Vec::new();
    clap_mangen::Man::new(command.disable_help_subcommand(true)).render(&mut text)?;
    fs::write(&path, text).with_context(|| format!("cannot write `{}`", path.display()))
}
