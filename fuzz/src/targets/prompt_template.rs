//! Prompt templates in alpaca-lora's JSON.

use alpaca_data::PromptTemplate;

use crate::Target;
use crate::files::directory;
use crate::seeds::goldens;

pub(super) const TARGET: Target = Target {
    name: "prompt_template",
    reads: "prompt templates (JSON): `alpaca_data::PromptTemplate`, a prompt and the answer in a text",
    limit_s: 4,
    seeds: || {
        goldens!("alpaca-data/templates/alpaca.json", "alpaca-data/templates/vigogne.json")
            .map(<[u8]>::to_vec)
            .to_vec()
    },
    run: |bytes| {
        let path = directory("template", &[("template.json", bytes)]).join("template.json");
        let template = PromptTemplate::load(&path.to_string_lossy())?;
        let text = template.prompt("{instruction}", Some("naïve {input}")) + &template.prompt("", None);
        template.response_of(&text);
        Ok(())
    },
};
