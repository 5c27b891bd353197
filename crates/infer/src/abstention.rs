//! Is this picture like anything the pack was trained on?

use crate::head::{Matrix, dot};

/// Mahalanobis distance under probabilistic PCA (Tipping and Bishop 1999, eq. 7), divided by the dimension, so that a
/// picture like the training ones scores about 1.
pub struct PpcaMahalanobis {
    pub(crate) mean: Vec<f32>,
    /// Orthonormal rows.
    pub(crate) components: Matrix,
    pub(crate) variance: Vec<f32>,
    pub(crate) residual_variance: f64,
}

impl PpcaMahalanobis {
    /// Length of the embedding that it takes.
    pub fn dimension(&self) -> usize {
        self.mean.len()
    }

    /// The score of an embedding; higher is stranger.
    pub fn score(&self, embedding: &[f32]) -> f64 {
        let centred: Vec<f32> = embedding.iter().zip(&self.mean).map(|(x, m)| x - m).collect();
        let (mut inside, mut distance) = (0.0, 0.0);
        for (row, variance) in self.components.rows().zip(&self.variance) {
            let z = dot(row, &centred);
            inside += z * z;
            distance += z * z / f64::from(*variance);
        }
        let residual = (dot(&centred, &centred) - inside).max(0.0);
        (distance + residual / self.residual_variance) / self.mean.len() as f64
    }
}
