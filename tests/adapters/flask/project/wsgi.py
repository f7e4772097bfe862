from flasksite import create_app

application = create_app()
