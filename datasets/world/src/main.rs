//! `world build`: writes the corpus, the tokenizer and the records.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use world::{Split, Tasks};

const USAGE: &str = "usage: world build [--out-corpus target/tiny-model] [--records datasets/records]";

fn main() -> Result<()> {
    let mut corpus_dir = PathBuf::from("target/tiny-model");
    let mut records_dir = PathBuf::from("datasets/records");
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() != Some("build") {
        bail!(USAGE);
    }
    while let Some(flag) = args.next() {
        let value =
            args.next().map(PathBuf::from).with_context(|| format!("`{flag}` needs a value; {USAGE}"))?;
        match flag.as_str() {
            "--out-corpus" => corpus_dir = value,
            "--records" => records_dir = value,
            _ => bail!("unknown flag `{flag}`; {USAGE}"),
        }
    }
    build(&corpus_dir, &records_dir)
}

fn build(corpus_dir: &Path, records_dir: &Path) -> Result<()> {
    for dir in [corpus_dir, records_dir] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create `{}`", dir.display()))?;
    }
    let tasks = Tasks::new();
    for split in Split::ALL {
        let records = tasks.records(split);
        let lines: Vec<String> =
            records.iter().map(serde_json::to_string).collect::<serde_json::Result<_>>()?;
        let path = records_dir.join(split.name()).with_extension("json");
        write(&path, &format!("[\n{}\n]\n", lines.join(",\n")))?;
        eprintln!("{}: {} records", path.display(), records.len());
    }

    let documents = world::documents(&tasks);
    let lines: String =
        documents.iter().flat_map(|document| [document.replace('\n', "\\n"), "\n".to_owned()]).collect();
    let path = corpus_dir.join("corpus.txt");
    write(&path, &lines)?;
    eprintln!("{}: {} documents, {} bytes", path.display(), documents.len(), lines.len());

    let tokenizer = world::train_tokenizer(&documents).map_err(|error| anyhow::anyhow!(error))?;
    let json = tokenizer.to_string(true).map_err(|error| anyhow::anyhow!(error))?;
    write(&corpus_dir.join("tokenizer.json"), &json)?;
    write(
        &corpus_dir.join("tokenizer_config.json"),
        &serde_json::to_string_pretty(&world::tokenizer_config())?,
    )?;
    write(
        &corpus_dir.join("special_tokens_map.json"),
        &serde_json::to_string_pretty(&world::special_tokens_map())?,
    )?;
    eprintln!("{}: {} tokens", corpus_dir.join("tokenizer.json").display(), tokenizer.get_vocab_size(true));
    Ok(())
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write `{}`", path.display()))
}
