//! `params.json` of Meta's directories, over shards that are sound.

use checkpoint::Base;
use nn_core::Dtype;
use tch::Device;

use crate::Target;
use crate::files::directory;
use crate::seeds::goldens;

const SHARDS: [&[u8]; 2] = goldens!(
    "checkpoint/tests/goldens/meta/consolidated.00.pth",
    "checkpoint/tests/goldens/meta/consolidated.01.pth",
);

pub(super) const TARGET: Target = Target {
    name: "params_json",
    reads: "`params.json` over two shards: `checkpoint::Base`; what fits the weights is loaded",
    limit_s: 4,
    seeds: || goldens!("checkpoint/tests/goldens/meta/params.json").map(<[u8]>::to_vec).to_vec(),
    run: |bytes| {
        let [first, second] = SHARDS;
        let files = [("params.json", bytes), ("consolidated.00.pth", first), ("consolidated.01.pth", second)];
        let base = Base::open(&directory("params", &files).to_string_lossy())?;
        base.check_weights()?;
        base.load(Device::Cpu, Dtype::Auto)?;
        Ok(())
    },
};
