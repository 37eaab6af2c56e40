//! safetensors files, and indices of shards.

use weights::TensorStore;

use super::tensors::read_all;
use crate::Target;
use crate::files::directory;
use crate::seeds::goldens;

pub(super) const FILE: Target = Target {
    name: "safetensors",
    reads: "`*.safetensors`: `weights::TensorStore`, every tensor",
    limit_s: 4,
    seeds: || {
        let files = goldens!(
            "weights/tests/goldens/kinds.safetensors",
            "weights/tests/goldens/state_dict.safetensors",
        );
        files.map(<[u8]>::to_vec).to_vec()
    },
    run: |bytes| {
        let dir = directory("safetensors", &[("model.safetensors", bytes)]);
        read_all(&TensorStore::open_file(&dir.join("model.safetensors"))?)
    },
};

const SHARDS: [(&str, &[u8]); 2] = {
    let [first, second] = goldens!(
        "weights/tests/goldens/sharded/pytorch_model-00001-of-00002.bin",
        "weights/tests/goldens/sharded/pytorch_model-00002-of-00002.bin",
    );
    [("pytorch_model-00001-of-00002.bin", first), ("pytorch_model-00002-of-00002.bin", second)]
};
const INDEX_FILE: &str = "pytorch_model.bin.index.json";

pub(super) const INDEX: Target = Target {
    name: "shard_index",
    reads: "`*.index.json` over two shards: `weights::TensorStore`, every tensor",
    limit_s: 4,
    seeds: || {
        goldens!("weights/tests/goldens/sharded/pytorch_model.bin.index.json").map(<[u8]>::to_vec).to_vec()
    },
    run: |bytes| {
        let [first, second] = SHARDS;
        let dir = directory("shards", &[first, second, (INDEX_FILE, bytes)]);
        read_all(&TensorStore::open(&dir)?)
    },
};
