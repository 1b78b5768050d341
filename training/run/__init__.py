"""From a job to a result: an attempt here or on Ray, and what becomes of its errors."""
