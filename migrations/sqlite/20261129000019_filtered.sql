-- Filters of destinations: where an event is not due by its content.

-- The destinations that take the type and whose filter passed over the event when it was stored: a JSON array of objects
-- with destination and, where the filter has no value for the event, error; none if there are none.
ALTER TABLE "NAMESPACE.events" ADD COLUMN filtered TEXT;
