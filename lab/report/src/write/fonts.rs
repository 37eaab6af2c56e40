//! Fonts: those in the binary, and one of the system's for Chinese.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use typst::foundations::Bytes;
use typst::text::{Font, FontInfo};

use crate::lang::Lang;
use crate::plots::{LabelFont, standalone_face};

/// The serif face in the binary.
pub(crate) const SERIF: &str = "Libertinus Serif";
/// The typewriter face in the binary.
pub(crate) const MONO: &str = "DejaVu Sans Mono";

/// Families that hold simplified Chinese, the best first.
const FAMILIES: [&str; 12] = [
    "Noto Sans CJK SC",
    "Noto Sans SC",
    "Source Han Sans SC",
    "Noto Serif CJK SC",
    "Noto Serif SC",
    "Source Han Serif SC",
    "PingFang SC",
    "Microsoft YaHei",
    "WenQuanYi Micro Hei",
    "WenQuanYi Zen Hei",
    "SimSun",
    "Droid Sans Fallback",
];

/// Folders in which systems keep fonts.
const FOLDERS: [&str; 6] = [
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:\\Windows\\Fonts",
    "/run/current-system/sw/share/X11/fonts",
];

/// A font that holds Chinese.
#[derive(Debug, Clone)]
pub(crate) struct CjkFont {
    /// Its family.
    pub(crate) family: String,
    /// Every face of the family: regular, and others where the system has them.
    pub(crate) faces: Vec<Font>,
}

/// Reads the font that was given, or looks for one where systems keep them; nothing where there is none.
pub(crate) fn find_cjk(given: Option<&Path>) -> Result<Option<CjkFont>> {
    if let Some(path) = given {
        let data =
            std::fs::read(path).with_context(|| format!("cannot read the font `{}`", path.display()))?;
        let faces: Vec<Font> = Font::iter(Bytes::new(data)).filter(holds_chinese).collect();
        let best = faces.iter().min_by_key(|face| rank(&face.info().family));
        let Some(best) = best else {
            bail!(
                "`{}` is no font with Chinese letters; --font wants one, such as Noto Sans CJK",
                path.display()
            );
        };
        let family = best.info().family.clone();
        return Ok(Some(of_family(family, faces)));
    }
    let mut files = Vec::new();
    for folder in FOLDERS.iter().map(PathBuf::from).chain(of_user()) {
        collect(&folder, &mut files);
    }
    files.sort();
    let mut best: Option<(usize, String)> = None;
    let mut holders: Vec<(PathBuf, Vec<String>)> = Vec::new();
    for file in files {
        let Ok(data) = std::fs::read(&file) else { continue };
        let families: Vec<String> = FontInfo::iter(&data).map(|info| info.family).collect();
        for family in &families {
            if rank(family) < FAMILIES.len() && best.as_ref().is_none_or(|best| rank(family) < best.0) {
                best = Some((rank(family), family.clone()));
            }
        }
        holders.push((file, families));
    }
    let Some((_, family)) = best else { return Ok(None) };
    let mut faces = Vec::new();
    for (file, _) in holders.iter().filter(|(_, families)| families.contains(&family)) {
        faces.extend(Font::iter(Bytes::new(std::fs::read(file)?)));
    }
    Ok(Some(of_family(family, faces)))
}

fn of_family(family: String, faces: Vec<Font>) -> CjkFont {
    // Regular and bold are all that a report needs, and a font is large.
    let wanted = |face: &Font| {
        let variant = face.info().variant;
        face.info().family == family && [400, 700].contains(&variant.weight.to_number())
    };
    let mut kept: Vec<Font> = faces.iter().filter(|face| wanted(face)).cloned().collect();
    if kept.is_empty() {
        kept = faces.into_iter().filter(|face| face.info().family == family).take(1).collect();
    }
    kept.sort_by_key(|face| face.info().variant.weight.to_number());
    CjkFont { family, faces: kept }
}

/// Returns the user's own folders of fonts.
fn of_user() -> Vec<PathBuf> {
    let Some(home) = std::env::var_os("HOME").map(PathBuf::from) else { return Vec::new() };
    [".fonts", ".local/share/fonts", "Library/Fonts"].iter().map(|folder| home.join(folder)).collect()
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().and_then(|ending| ending.to_str()).is_some_and(|ending| {
            ["ttf", "otf", "ttc", "otc"].contains(&ending.to_ascii_lowercase().as_str())
        }) {
            files.push(path);
        }
    }
}

fn rank(family: &str) -> usize {
    FAMILIES.iter().position(|known| *known == family).unwrap_or(FAMILIES.len())
}

fn holds_chinese(face: &Font) -> bool {
    ['的', '微', '调'].into_iter().all(|letter| face.info().coverage.contains(u32::from(letter)))
}

/// Returns the letters of plots: the serif in the binary, and the Chinese font.
pub(crate) fn label_font(lang: Lang, cjk: Option<&CjkFont>) -> Result<LabelFont> {
    let regular = |family: &str| {
        let is_wanted = |info: FontInfo| {
            let variant = info.variant;
            let is_upright = variant.style == typst::text::FontStyle::Normal;
            info.family == family && variant.weight.to_number() == 400 && is_upright
        };
        let found = typst_assets::fonts().find(|data| FontInfo::iter(data).any(is_wanted));
        found.with_context(|| format!("the font `{family}` is not in the binary"))
    };
    let serif = ("Libertinus Serif, Times New Roman, Times, serif", regular(SERIF)?);
    let font = LabelFont::new(serif, ("DejaVu Sans Mono, Menlo, Consolas, monospace", regular(MONO)?))?;
    if let (Lang::Zh, Some(cjk)) = (lang, cjk)
        && let Some(face) = cjk.faces.first()
        && let Some(data) = standalone_face(face.data(), face.index())
    {
        let families =
            format!("{}, Source Han Sans SC, PingFang SC, Microsoft YaHei, sans-serif", cjk.family);
        return font.with_chinese(&families, data.leak());
    }
    Ok(font)
}
