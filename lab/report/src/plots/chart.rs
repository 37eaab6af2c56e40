//! Charts, before they are drawn.

/// Scale of an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scale {
    /// Equal steps are equally long; the axis begins at 0.
    FromZero,
    /// Equal steps are equally long; the axis begins near the smallest number.
    Linear,
    /// Equal ratios are equally long.
    Log,
}

/// An axis.
#[derive(Debug, Clone)]
pub(crate) struct Axis {
    /// Quantity and unit.
    pub(crate) label: String,
    pub(crate) scale: Scale,
    /// Ticks; chosen where there are none.
    pub(crate) ticks: Vec<f64>,
}

impl Axis {
    /// Creates an axis that chooses its ticks.
    pub(crate) fn new(label: impl Into<String>, scale: Scale) -> Self {
        Self { label: label.into(), scale, ticks: Vec::new() }
    }
}

/// Style of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Draw {
    /// A line, and a marker at each point.
    Points,
    /// A line.
    Line,
    /// A thin dashed line without an entry in the legend: a fit of the series before.
    Fit,
}

/// One line of a plot.
#[derive(Debug, Clone)]
pub(crate) struct Series {
    pub(crate) label: String,
    /// Number of its colour, marker and dashes.
    pub(crate) style: usize,
    /// Its points.
    pub(crate) points: Vec<(f64, f64)>,
    /// Ranges at some points: x, lowest, highest.
    pub(crate) ranges: Vec<(f64, f64, f64)>,
    pub(crate) draw: Draw,
}

impl Series {
    /// Creates a series without ranges.
    pub(crate) fn new(label: String, style: usize, draw: Draw, points: Vec<(f64, f64)>) -> Self {
        Self { label, style, points, ranges: Vec::new(), draw }
    }
}

/// One bar: repeated measurements of one thing.
#[derive(Debug, Clone)]
pub(crate) struct Group {
    pub(crate) label: String,
    /// Number of its colour and marker.
    pub(crate) style: usize,
    /// Every measurement.
    pub(crate) values: Vec<f64>,
}

#[derive(Debug, Clone)]
pub(crate) enum Content {
    /// Lines over two axes.
    Curves {
        x: Axis,
        y: Axis,
        /// The lines.
        series: Vec<Series>,
    },
    /// Bars to the right, one for each group, with its measurements on it.
    Bars {
        /// Quantity and unit.
        label: String,
        /// The bars.
        groups: Vec<Group>,
    },
    /// What stood in a terminal: the command first.
    Terminal { lines: Vec<String> },
    /// A PNG file as it is.
    Picture { png: Vec<u8> },
}

/// A plot.
#[derive(Debug, Clone)]
pub(crate) struct Chart {
    /// Name of its files.
    pub(crate) stem: String,
    pub(crate) content: Content,
}

impl Chart {
    /// Returns true for what has letters too small for less than the whole width of a page.
    pub(crate) fn is_wide(&self) -> bool {
        matches!(self.content, Content::Terminal { .. } | Content::Picture { .. })
    }

    /// Returns true without data.
    pub(crate) fn is_empty(&self) -> bool {
        match &self.content {
            Content::Curves { series, .. } => series.iter().all(|series| series.points.is_empty()),
            Content::Bars { groups, .. } => groups.iter().all(|group| group.values.is_empty()),
            Content::Terminal { lines } => lines.is_empty(),
            Content::Picture { png } => png.is_empty(),
        }
    }
}
