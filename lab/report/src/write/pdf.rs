//! PDF, by typst, with fonts that are in the binary and one of the system's for Chinese.

use anyhow::{Result, anyhow, bail};
use typst::diag::{FileError, FileResult, SourceDiagnostic};
use typst::foundations::{Bytes, Datetime};
use typst::layout::PagedDocument;
use typst::syntax::{FileId, Source, VirtualPath};
use typst::text::{Font, FontBook};
use typst::utils::LazyHash;
use typst::{Library, LibraryExt, World};

use super::fonts::CjkFont;
use super::typst_source::typst_source;
use crate::document::Document;
use crate::lang::Lang;
use crate::plots::Rendered;

/// Returns the document as PDF.
pub(crate) fn pdf(doc: &Document, lang: Lang, plots: &[Rendered], cjk: Option<&CjkFont>) -> Result<Vec<u8>> {
    if lang == Lang::Zh && cjk.is_none() {
        bail!("a Chinese PDF needs a font with Chinese letters");
    }
    let source = typst_source(doc, lang, cjk.map(|font| font.family.as_str()));
    let world = PdfWorld::new(source, plots, cjk);
    let told = |errors: &[SourceDiagnostic]| {
        let messages: Vec<&str> = errors.iter().map(|error| error.message.as_str()).collect();
        anyhow!("typst: {}", messages.join("; "))
    };
    let document = typst::compile::<PagedDocument>(&world).output.map_err(|errors| told(&errors))?;
    // Neither a time nor anything random: the same document makes the same bytes.
    let options = typst_pdf::PdfOptions::default();
    typst_pdf::pdf(&document, &options).map_err(|errors| told(&errors))
}

/// Files of typst: one source, the plots, the fonts.
struct PdfWorld<'a> {
    library: LazyHash<Library>,
    book: LazyHash<FontBook>,
    fonts: Vec<Font>,
    main: Source,
    plots: &'a [Rendered],
}

impl<'a> PdfWorld<'a> {
    fn new(text: String, plots: &'a [Rendered], cjk: Option<&CjkFont>) -> Self {
        let embedded = typst_assets::fonts().flat_map(|data| Font::iter(Bytes::new(data)));
        let fonts: Vec<Font> =
            embedded.chain(cjk.iter().flat_map(|font| font.faces.iter().cloned())).collect();
        let book = LazyHash::new(FontBook::from_fonts(&fonts));
        let main = Source::new(FileId::new(None, VirtualPath::new("report.typ")), text);
        Self { library: LazyHash::new(Library::default()), book, fonts, main, plots }
    }
}

impl World for PdfWorld<'_> {
    fn library(&self) -> &LazyHash<Library> {
        &self.library
    }

    fn book(&self) -> &LazyHash<FontBook> {
        &self.book
    }

    fn main(&self) -> FileId {
        self.main.id()
    }

    fn source(&self, id: FileId) -> FileResult<Source> {
        if id == self.main.id() {
            return Ok(self.main.clone());
        }
        Err(FileError::NotFound(id.vpath().as_rootless_path().to_owned()))
    }

    fn file(&self, id: FileId) -> FileResult<Bytes> {
        let path = id.vpath().as_rootless_path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        match Rendered::find(self.plots, stem) {
            Some(plot) => Ok(Bytes::from_string(plot.svg.clone())),
            None => Err(FileError::NotFound(path.to_owned())),
        }
    }

    fn font(&self, index: usize) -> Option<Font> {
        self.fonts.get(index).cloned()
    }

    fn today(&self, _: Option<i64>) -> Option<Datetime> {
        None
    }
}
