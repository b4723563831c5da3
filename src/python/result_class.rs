//! Result classes: immutable Python objects that compare by value, pickle, and act as dataclasses.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};

use crate::python::annotation::Annotation;

/// Defines a result class by its fields. Needs `PyDict`, `PyTuple`, `PyType` and this module.
///
/// A field's doc comment is the docstring of its property. Its Rust type gives the annotation in
/// the generated stub, see [`Annotation`].
macro_rules! result_class {
    (
        $(#[$doc:meta])*
        $name:ident as $python:literal {
            $($(#[$field_doc:meta])* $field:ident: $type:ty,)+
        }
    ) => {
        $(#[$doc])*
        #[pyclass(frozen, eq, hash, get_all, from_py_object)]
        #[pyo3(name = $python, module = "order_engine._native")]
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[allow(clippy::struct_field_names, reason = "Python reads `product_id`, never `id`")]
        pub(super) struct $name {
            $($(#[$field_doc])* pub $field: $type,)+
        }

        #[pymethods]
        impl $name {
            #[new]
            #[allow(clippy::too_many_arguments, reason = "one for each field")]
            fn new($($field: $type),+) -> Self {
                Self { $($field),+ }
            }

            #[classattr]
            fn __match_args__(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
                PyTuple::new(py, [$(stringify!($field)),+])
            }

            #[classattr]
            fn __annotations__(py: Python<'_>) -> PyResult<Bound<'_, PyDict>> {
                result_class::annotations(py, &Self::fields())
            }

            #[classattr]
            fn __dataclass_fields__(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                result_class::dataclass(py, $python, &Self::fields())?
                    .getattr("__dataclass_fields__")
            }

            #[classattr]
            fn __dataclass_params__(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
                result_class::dataclass(py, $python, &Self::fields())?
                    .getattr("__dataclass_params__")
            }

            fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
                let fields = [$(
                    format!("{}={}", stringify!($field), slf.getattr(stringify!($field))?.repr()?),
                )+];
                Ok(format!("{}({})", $python, fields.join(", ")))
            }

            fn __reduce__<'py>(
                slf: &Bound<'py, Self>,
            ) -> PyResult<(Bound<'py, PyType>, Bound<'py, PyTuple>)> {
                let values = [$(slf.getattr(stringify!($field))?,)+];
                Ok((slf.get_type(), PyTuple::new(slf.py(), values)?))
            }

            /// Return the fields by name.
            ///
            /// Nested results become dicts and tuples become lists; other values stay as they are.
            ///
            /// Returns:
            ///     dict[str, Any]: A new dict.
            fn to_dict<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyDict>> {
                let fields = PyDict::new(slf.py());
                $(fields.set_item(
                    stringify!($field),
                    result_class::plain(slf.getattr(stringify!($field))?)?,
                )?;)+
                Ok(fields)
            }
        }

        impl $name {
            fn fields() -> Vec<(&'static str, String)> {
                vec![$((stringify!($field), <$type as Annotation>::annotation()),)+]
            }
        }

        impl Annotation for $name {
            fn annotation() -> String {
                $python.to_owned()
            }
        }
    };
}

/// Converts a field's value for `to_dict`: a tuple to a list, a result to a dict.
pub(super) fn plain(value: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let Ok(members) = value.cast::<PyTuple>() else { return Ok(value) };
    let list = PyList::empty(value.py());
    for member in members {
        let is_result = member.hasattr("to_dict")?;
        list.append(if is_result { member.call_method0("to_dict")? } else { member })?;
    }
    Ok(list.into_any())
}

/// The value of `__annotations__`.
pub(super) fn annotations<'py>(
    py: Python<'py>,
    fields: &[(&'static str, String)],
) -> PyResult<Bound<'py, PyDict>> {
    let annotations = PyDict::new(py);
    for (name, annotation) in fields {
        annotations.set_item(name, annotation)?;
    }
    Ok(annotations)
}

/// A Python dataclass with the same fields. Its attributes make `dataclasses.asdict`, and with it
/// Flask's `jsonify`, accept the result class.
pub(super) fn dataclass<'py>(
    py: Python<'py>,
    name: &str,
    fields: &[(&'static str, String)],
) -> PyResult<Bound<'py, PyAny>> {
    let options = PyDict::new(py);
    options.set_item("frozen", true)?;
    py.import("dataclasses")?.call_method("make_dataclass", (name, fields.to_vec()), Some(&options))
}

/// A tuple in Python.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tuple<T>(pub Vec<T>);

impl<T> FromIterator<T> for Tuple<T> {
    fn from_iter<I: IntoIterator<Item = T>>(members: I) -> Self {
        Self(members.into_iter().collect())
    }
}

impl<'py, T: IntoPyObject<'py>> IntoPyObject<'py> for Tuple<T> {
    type Target = PyTuple;
    type Output = Bound<'py, PyTuple>;
    type Error = PyErr;

    fn into_pyobject(self, py: Python<'py>) -> PyResult<Self::Output> {
        let members = self.0.into_iter().map(|member| member.into_bound_py_any(py));
        PyTuple::new(py, members.collect::<PyResult<Vec<_>>>()?)
    }
}

impl<'py, T: FromPyObjectOwned<'py>> FromPyObject<'_, 'py> for Tuple<T> {
    type Error = PyErr;

    fn extract(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        value.extract::<Vec<T>>().map(Self)
    }
}

impl<T: Annotation> Annotation for Tuple<T> {
    fn annotation() -> String {
        format!("tuple[{}, ...]", T::annotation())
    }
}

pub(super) use result_class;
