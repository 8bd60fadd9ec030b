"""Where tables come from: files of text, Parquet and Arrow, frames of pandas and polars."""
