//! A request on its way in: read, admitted, led to its route, and its content on the way out again.

pub(in crate::proxy) mod admit;
pub(in crate::proxy) mod routing;
pub(in crate::proxy) mod terms;
pub(in crate::proxy) mod upload;
