-- How far the search for identities is, and how many it found.
UPDATE jobs SET found_up_to = $2, is_targeted = $3, device_count = device_count + $4,
    pending_count = pending_count + $4
WHERE job_key = $1
