//! Prints the logits of a model, in float32, as JSON: `logits BASE_MODEL 1,40,7`. For scripts that compare with other
//! programs.

use anyhow::{Context, Result};
use checkpoint::Base;
use nn_core::{Dtype, Mode, TokenBatch};
use tch::{Device, no_grad};

// ANCHOR: readme
fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let usage = "usage: logits BASE_MODEL IDS";
    let (base, ids) = (args.next().context(usage)?, args.next().context(usage)?);
    let ids = ids.split(',').map(|id| Ok(id.trim().parse()?)).collect::<Result<Vec<i64>>>()?;
    let model = Base::open(&base)?.load(Device::Cpu, Dtype::Float32)?;
    let batch = TokenBatch::from_sequences([(ids.as_slice(), ids.as_slice())]);
    let logits = no_grad(|| model.logits(&model.hidden_states(&batch, Mode::Eval)?))?; // [T, V]
    let rows = (0..logits.size()[0]).map(|row| Vec::<f32>::try_from(logits.get(row)));
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    serde_json::to_writer(std::io::stdout().lock(), &rows)?;
    Ok(())
}
// ANCHOR_END: readme
