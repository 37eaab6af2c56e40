//! The page of a run: served while it learns, where it is asked for, and left beside the results.

#![expect(clippy::doc_markdown, reason = "the comments on arguments are the help text")]

use anyhow::Result;
use clap::Args;
use run_page::Watch;
use terminal::shell_line;
use trainer::StopFlag;

use super::settings::FinetuneConfig;
use crate::address::address;
use crate::exit::usage;

/// Flags of the live page.
#[derive(Debug, Args)]
#[command(next_help_heading = "Live page", rename_all = "snake_case")]
pub(crate) struct WebArgs {
    /// Serve a page that follows the run: curves, the answers to three records at each evaluation, and a button that stops and
    /// saves; on this port, or on 7861 [default: no page]
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "7861")]
    pub(crate) web: Option<u16>,
    /// Address of the page; one that other machines reach needs --api_key
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1", requires = "web")]
    server_name: String,
    /// Key that the page asks for
    #[arg(long, value_name = "KEY", env = "FINETUNE_API_KEY", hide_env_values = true)]
    api_key: Option<String>,
}

/// Begins to watch a run, and serves its page where `args` ask for it; the page's button requests `stop`.
pub(crate) fn watch(args: &WebArgs, config: &FinetuneConfig, stop: &StopFlag) -> Result<Watch> {
    let command = shell_line(std::env::args(), &["api_key"]);
    let watch = Watch::new(&config.output_dir, Some(command), &config.to_toml()?);
    let Some(port) = args.web else { return Ok(watch) };
    let address = address(&args.server_name, port)?;
    let key = args.api_key.clone().filter(|key| !key.is_empty());
    if !address.ip().is_loopback() && key.is_none() {
        return Err(usage(format!(
            "server_name is `{}`, which other machines reach; give --api_key too: whoever opens the page can stop the run",
            args.server_name
        )));
    }
    match watch.serve(address, key, stop.clone()) {
        Ok(address) if address.ip().is_loopback() => {
            let port = address.port();
            tracing::info!(
                "live page: http://{address} (from another machine: ssh -L {port}:127.0.0.1:{port} HOST)"
            );
        }
        Ok(address) => tracing::info!("live page: http://{address}"),
        Err(error) => {
            let error = anyhow::Error::from(error);
            tracing::warn!("{error:#}: the run goes on without its live page");
        }
    }
    Ok(watch)
}
