//! Modality and VOI transforms (DICOM PS3.3 §C.11.1 and §C.11.2), on plain numbers.

/// A lookup table: entry `i` answers for input value `first + i`; inputs outside take the nearest end.
#[derive(Clone, Debug, PartialEq)]
pub struct LookupTable {
    /// Input value of the first entry.
    pub first: i64,
    /// Bits of an entry: the output range is `0..=2^bits - 1`.
    pub bits: u16,
    /// Outputs.
    pub entries: Vec<u16>,
}

impl LookupTable {
    /// The entry for an input; zero if the table is empty.
    pub fn get(&self, input: f64) -> f64 {
        let last = self.entries.len().saturating_sub(1);
        let index = (input.trunc() as i64).saturating_sub(self.first).clamp(0, last as i64) as usize;
        self.entries.get(index).copied().map_or(0.0, f64::from)
    }
}

/// Stored value → modality value, such as Hounsfield units.
#[derive(Clone, Debug, PartialEq)]
pub enum ModalityTransform {
    /// The stored value is the modality value.
    Identity,
    /// `slope × stored + intercept`.
    Linear {
        /// Rescale Slope.
        slope: f64,
        /// Rescale Intercept.
        intercept: f64,
    },
    /// Modality LUT Sequence.
    Table(LookupTable),
}

impl ModalityTransform {
    /// The modality value of a stored value.
    pub fn apply(&self, stored: f64) -> f64 {
        match self {
            Self::Identity => stored,
            Self::Linear { slope, intercept } => stored * slope + intercept,
            Self::Table(table) => table.get(stored),
        }
    }
}

/// VOI LUT Function (0028,1056).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowFunction {
    /// PS3.3 §C.11.2.1.2.1, the default.
    Linear,
    /// PS3.3 §C.11.2.1.3.2.
    LinearExact,
    /// PS3.3 §C.11.2.1.3.1.
    Sigmoid,
}

/// Modality value → display value.
#[derive(Clone, Debug, PartialEq)]
pub enum VoiTransform {
    /// Window Center and Window Width.
    Window {
        /// Window Center.
        center: f64,
        /// Window Width; at least 1 for `Linear`, above 0 else.
        width: f64,
        /// The function between the ends.
        function: WindowFunction,
    },
    /// VOI LUT Sequence.
    Table(LookupTable),
}

impl VoiTransform {
    /// The display value of a modality value, from 0 (the output's lowest) to 1 (its highest).
    pub fn apply(&self, value: f64) -> f64 {
        match self {
            Self::Window { center, width, function } => window(value, *center, *width, *function),
            Self::Table(table) => {
                let highest = f64::from(((1u32 << table.bits.min(16)) - 1).max(1));
                (table.get(value) / highest).clamp(0.0, 1.0)
            }
        }
    }
}

fn window(x: f64, center: f64, width: f64, function: WindowFunction) -> f64 {
    match function {
        WindowFunction::Linear if width <= 1.0 => f64::from(x > center - 0.5),
        WindowFunction::Linear => ((x - (center - 0.5)) / (width - 1.0) + 0.5).clamp(0.0, 1.0),
        WindowFunction::LinearExact => ((x - center) / width + 0.5).clamp(0.0, 1.0),
        WindowFunction::Sigmoid => 1.0 / (1.0 + (-4.0 * (x - center) / width).exp()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn w(center: f64, width: f64, function: WindowFunction) -> VoiTransform {
        VoiTransform::Window { center, width, function }
    }

    #[test]
    fn windows_follow_the_standards_examples() {
        // PS3.3 §C.11.2.1.2.1 note 4: c=2048, w=4096 maps 0..=4095 onto the full range.
        let full = w(2048.0, 4096.0, WindowFunction::Linear);
        assert_eq!(full.apply(0.0), 0.0);
        assert_eq!(full.apply(4095.0), 1.0);
        // c=2048, w=1 is a step at 2048.
        let step = w(2048.0, 1.0, WindowFunction::Linear);
        assert_eq!((step.apply(2047.0), step.apply(2048.0)), (0.0, 1.0));
        let exact = w(2048.0, 4096.0, WindowFunction::LinearExact);
        assert_eq!((exact.apply(0.0), exact.apply(4096.0)), (0.0, 1.0));
        assert_eq!(w(40.0, 80.0, WindowFunction::Sigmoid).apply(40.0), 0.5);
    }

    #[test]
    fn tables_hold_at_their_ends() {
        let table = LookupTable { first: 10, bits: 8, entries: vec![0, 128, 255] };
        assert_eq!(table.get(-5.0), 0.0);
        assert_eq!(table.get(11.0), 128.0);
        assert_eq!(table.get(99.0), 255.0);
        assert_eq!(VoiTransform::Table(table).apply(12.0), 1.0);
    }
}
