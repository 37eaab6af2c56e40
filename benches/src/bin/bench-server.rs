//! `cargo xtask load`: the server under many clients.

fn main() -> std::process::ExitCode {
    cli::exit::main_with::<benches::server_load::ServerLoadArgs>(|args| benches::server_load::run(&args))
}
