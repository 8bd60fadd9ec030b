"""Tables: synthetic records, anomalies and imputation, beside what else one would take."""
