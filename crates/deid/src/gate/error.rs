//! Why nothing can be said about an original.

use overread_dicom::read::ReadError;

use crate::DeidError;
use crate::pixels::PixelError;

/// Why there is neither an object nor a reason to quarantine.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GateError {
    /// The original cannot be read, or the object cannot be written.
    #[error(transparent)]
    Deid(#[from] DeidError),
    /// What looks at pixels failed.
    #[error(transparent)]
    Pixels(#[from] PixelError),
    /// Something is not installed that the policy needs.
    #[error(
        "{what} is missing, and nothing leaves without it; install it, or set pixels = \"keep\" and second_look = false to send pixels as they are"
    )]
    Missing {
        /// What it is and what for.
        what: &'static str,
    },
}

impl From<ReadError> for GateError {
    fn from(error: ReadError) -> Self {
        Self::Deid(error.into())
    }
}

impl GateError {
    /// Whether the same call may succeed later: the machine is at fault and not the original.
    pub const fn is_passing(&self) -> bool {
        match self {
            Self::Deid(error) => error.is_passing(),
            Self::Pixels(_) | Self::Missing { .. } => true,
        }
    }
}
