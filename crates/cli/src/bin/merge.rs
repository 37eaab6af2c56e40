//! `merge`: see `cli::merge`.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<cli::merge::MergeArgs>(cli::merge::run)
}
