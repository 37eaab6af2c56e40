//! Files of `torch.save` of both ages, and the pickle in one of them.

use std::io::{Cursor, Write};

use weights::TensorStore;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::tensors::read_all;
use crate::Target;
use crate::files::directory;
use crate::seeds::goldens;
use crate::target::Verdict;

pub(super) const ZIP: Target = Target {
    name: "torch_zip",
    reads: "`*.bin`, `*.pth` since PyTorch 1.6: `weights::TensorStore`, every tensor",
    limit_s: 4,
    seeds: || zips().map(<[u8]>::to_vec).to_vec(),
    run: read,
};

pub(super) const LEGACY: Target = Target {
    name: "torch_legacy",
    reads: "`*.bin`, `*.pth` before that: `weights::TensorStore`, every tensor",
    limit_s: 4,
    seeds: || {
        let files = goldens!(
            "weights/tests/goldens/kinds_legacy.pt",
            "weights/tests/goldens/legacy_foreign.pt",
            "weights/tests/goldens/nested_legacy.pt",
            "weights/tests/goldens/parameters_legacy.pt",
            "weights/tests/goldens/state_dict_legacy.pt",
            "weights/tests/goldens/views_legacy.pt",
        );
        files.map(<[u8]>::to_vec).to_vec()
    },
    run: read,
};

pub(super) const PICKLE: Target = Target {
    name: "pickle",
    reads: "`data.pkl` in an archive that is sound: the pickle machine of `weights`",
    limit_s: 4,
    seeds: || zips().iter().filter_map(|bytes| pickle_of(bytes)).collect(),
    run: |bytes| read(&archive(bytes).expect("an archive in memory")),
};

fn zips() -> [&'static [u8]; 6] {
    goldens!(
        "weights/tests/goldens/kinds.pt",
        "weights/tests/goldens/nested.pt",
        "weights/tests/goldens/parameters.pt",
        "weights/tests/goldens/state_dict.pt",
        "weights/tests/goldens/views.pt",
        "weights/tests/goldens/zip_foreign.pt",
    )
}

fn read(bytes: &[u8]) -> Verdict {
    let dir = directory("torch", &[("pytorch_model.bin", bytes)]);
    read_all(&TensorStore::open_file(&dir.join("pytorch_model.bin"))?)
}

/// Returns the pickle of an archive.
fn pickle_of(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).ok()?;
    let name = archive.file_names().find(|name| name.ends_with("data.pkl"))?.to_owned();
    let mut pickle = Vec::new();
    std::io::copy(&mut archive.by_name(&name).ok()?, &mut pickle).ok()?;
    Some(pickle)
}

/// Packs a pickle with storages for it.
fn archive(pickle: &[u8]) -> zip::result::ZipResult<Vec<u8>> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    writer.start_file("model/data.pkl", stored)?;
    writer.write_all(pickle)?;
    for storage in 0..8 {
        writer.start_file(format!("model/data/{storage}"), stored)?;
        writer.write_all(&[storage; 64])?;
    }
    Ok(writer.finish()?.into_inner())
}
