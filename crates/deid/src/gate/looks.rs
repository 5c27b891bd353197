//! In which images of a study pixels are looked at.
//!
//! A detector and Tesseract cost seconds an image. Whatever people and machines write into is always looked at: everything but grey primary slices of CT, MR, PET and the
//! like (`risk::is_plain_slice`). Of those the first, the middle and the last image of a series are; where one of them shows text, all others are, too.

use std::collections::HashMap;

/// How an image is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Its pixels are looked at.
    Closely,
    /// Its pixels are looked at unless it is a plain slice, of whose series others were looked at.
    Sampled,
}

/// The looks at the images of a study, by their place in its list. The same list gives the same looks.
pub struct Looks {
    series: Vec<usize>,
    sampled: Vec<bool>,
    /// By series: text was found in one of its images.
    found: Vec<bool>,
}

impl Looks {
    /// For images of these series, in an order that does not change.
    pub fn new<'a>(series: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut numbers, mut members) = (HashMap::new(), Vec::<Vec<usize>>::new());
        let mut of = Vec::new();
        for (at, uid) in series.into_iter().enumerate() {
            let number = *numbers.entry(uid).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members[number].push(at);
            of.push(number);
        }
        let mut sampled = vec![false; of.len()];
        for images in &members {
            for at in [0, images.len() / 2, images.len() - 1] {
                sampled[images[at]] = true;
            }
        }
        Self { series: of, sampled, found: vec![false; members.len()] }
    }

    /// The places of all images, those of the sample first.
    pub fn order(&self) -> Vec<usize> {
        let (first, rest): (Vec<usize>, Vec<usize>) =
            (0..self.series.len()).partition(|at| self.sampled[*at]);
        [first, rest].concat()
    }

    /// How many images the sample has.
    pub fn sample(&self) -> usize {
        self.sampled.iter().filter(|s| **s).count()
    }

    /// How the image at a place is looked at.
    pub fn at(&self, place: usize) -> Look {
        let text = self.found[self.series[place]];
        if self.sampled[place] || text { Look::Closely } else { Look::Sampled }
    }

    /// Takes in what came of an image of the sample: whether its pixels showed text, or it must not leave.
    pub fn note(&mut self, place: usize, text: bool) {
        self.found[self.series[place]] |= text && self.sampled[place];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_of_a_series_decides_about_the_rest() {
        let series: Vec<&str> = std::iter::repeat_n("a", 9).chain(["b", "c", "c"]).collect();
        let mut looks = Looks::new(series);
        assert_eq!(looks.order()[..6], [0, 4, 8, 9, 10, 11]);
        assert_eq!((looks.sample(), looks.at(4), looks.at(5)), (6, Look::Closely, Look::Sampled));
        looks.note(5, true);
        assert_eq!(looks.at(6), Look::Sampled, "what comes after the sample changes no other image");
        looks.note(4, true);
        assert_eq!(looks.at(5), Look::Closely);
        assert!(Looks::new([]).order().is_empty());
    }
}
