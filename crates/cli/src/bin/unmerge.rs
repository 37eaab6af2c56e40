//! `unmerge`: see `cli::unmerge`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::unmerge::UnmergeArgs>(cli::unmerge::run)
}
